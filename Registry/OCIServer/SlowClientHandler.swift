import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// Closes connections whose request bodies trickle: every `interval` a body under way must have brought at least
/// `minimumBytes`. Without it a few hundred clients that send a byte a minute would hold every upload slot.
///
/// The heads of requests need no such care: until a whole head has come, a connection counts as idle.
final class SlowClientHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart

    private let interval: TimeAmount
    private let minimumBytes: Int
    private var received = 0
    private var isReadingBody = false
    private var check: Scheduled<Void>?

    init(interval: TimeAmount, minimumBytes: Int) {
        self.interval = interval
        self.minimumBytes = minimumBytes
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head:
            isReadingBody = true
            received = 0
            schedule(context)
        case .body(let buffer): received += buffer.readableBytes
        case .end:
            isReadingBody = false
            check?.cancel()
            check = nil
        }
        context.fireChannelRead(data)
    }

    func channelInactive(context: ChannelHandlerContext) {
        check?.cancel()
        check = nil
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        check?.cancel()
        check = nil
    }

    private func schedule(_ context: ChannelHandlerContext) {
        check?.cancel()
        check = context.eventLoop.assumeIsolated().scheduleTask(in: interval) {
            self.check = nil
            guard self.isReadingBody else { return }
            if self.received < self.minimumBytes {
                context.close(promise: nil)
            } else {
                self.received = 0
                self.schedule(context)
            }
        }
    }
}
