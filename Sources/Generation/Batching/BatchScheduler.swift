import Kernels
import LanguageModels
import Layers

/// Continuous batching, one step at a time: sequences of different lengths, samplers and soft prompts share each pass
/// through the weights, join whenever there is room, and leave when they are done (Yu et al. 2022, Orca).
///
/// A sequence gets the tokens that it would get alone: its rows in a product with quantized weights, its attention and
/// its sampler depend on nothing but itself, bit for bit, however its text is cut into pieces.
///
/// Each step gives one row to every sequence that writes; those that still read their text share what is left in equal
/// parts, so that a long text delays neither those who write nor a short text behind it. A request waits, in the order
/// of arrival, until the keys and values it may come to need fit the budget, and is then never interrupted.
///
/// Not for concurrent use; `Batcher` runs one on a thread of its own.
public final class BatchScheduler {
    /// Names a request from `submit` on.
    public struct ID: Hashable, Sendable {
        let number: Int
    }

    /// A sequence that runs.
    private final class Running {
        let id: ID
        let request: BatchRequest
        let cache: KVCache
        let reservedBytes: Int
        let maximumTokens: Int
        var chooser: any TokenChooser
        /// Tokens of the request's text that are in the cache.
        var read = 0
        var written = 0
        /// The token to run next, once the text was read.
        var last = 0
        /// What the step in progress gives.
        var events: [BatchEvent] = []

        init(id: ID, request: BatchRequest, cache: KVCache, reservedBytes: Int, maximumTokens: Int) {
            self.id = id
            self.request = request
            self.cache = cache
            self.reservedBytes = reservedBytes
            self.maximumTokens = maximumTokens
            chooser = request.chooser
        }

        var isReading: Bool { read < request.tokens.count }
    }

    public let model: any LanguageModel
    public let limits: BatchLimits
    public let cacheElement: KVElement
    private let workspace = InferenceWorkspace()
    private var nextNumber = 0
    private var waiting: [(id: ID, request: BatchRequest)] = []
    private var running: [Running] = []

    /// - Throws: `ModelError.invalidInput` for limits that let nothing run, or a number format that does not fit.
    public init(model: any LanguageModel, cacheElement: KVElement = .f16, limits: BatchLimits = BatchLimits()) throws {
        try limits.validate()
        try model.check(cacheElement: cacheElement)
        self.model = model
        self.cacheElement = cacheElement
        self.limits = limits
    }

    /// Requests that wait for room.
    public var waitingCount: Int { waiting.count }
    /// Sequences that run.
    public var runningCount: Int { running.count }
    /// Whether a step would do nothing.
    public var isIdle: Bool { waiting.isEmpty && running.isEmpty }
    /// Bytes of keys and values that the running sequences hold now, shared prompts counted once.
    public var cacheBytes: Int {
        running.reduce(0) { $0 + $1.cache.byteCount } + promptBytes(of: running.compactMap(\.request.prompt))
    }

    // MARK: - Requests

    /// Puts a request at the end of the queue.
    ///
    /// - Throws: `ModelError.contextFull` when its text does not fit the context or the budget, `.invalidInput` for an
    ///   empty text, an unknown token, or a prompt in another number format than the batch's.
    public func submit(_ request: BatchRequest) throws -> ID {
        try check(request)
        guard waiting.count < limits.waiting else {
            throw ModelError(
                .contextFull, "\(waiting.count) requests wait already, as many as are allowed; try again later")
        }
        let id = ID(number: nextNumber)
        nextNumber += 1
        waiting.append((id, request))
        return id
    }

    /// Whether a request waits or runs.
    public func contains(_ id: ID) -> Bool {
        waiting.contains { $0.id == id } || running.contains { $0.id == id }
    }

    /// Ends a request, wherever it is; its pages are free at once. `false` when it is over already.
    @discardableResult
    public func cancel(_ id: ID) -> Bool {
        if let index = waiting.firstIndex(where: { $0.id == id }) {
            waiting.remove(at: index)
            return true
        }
        guard let index = running.firstIndex(where: { $0.id == id }) else { return false }
        running.remove(at: index)
        return true
    }

    private func check(_ request: BatchRequest) throws {
        let context = model.shape.contextLength, attached = request.prompt?.count ?? 0
        guard !request.tokens.isEmpty else {
            throw ModelError(.invalidInput, "there is no text to continue; give at least one token")
        }
        guard request.maximumTokens > 0 else {
            throw ModelError(.invalidInput, "\(request.maximumTokens) tokens were asked for; ask for at least 1")
        }
        if let bad = request.tokens.first(where: { $0 < 0 || $0 >= model.shape.vocabularySize }) {
            throw ModelError(
                .invalidInput, "token \(bad) is outside the vocabulary of \(model.shape.vocabularySize)")
        }
        guard attached + request.tokens.count <= context else {
            throw ModelError(
                .contextFull,
                "\(request.tokens.count) tokens do not fit: \(attached) of the \(context) positions are taken by the "
                    + "attached prompt; shorten the text")
        }
        if let prompt = request.prompt {
            guard prompt.prefix.element == cacheElement, prompt.prefix.fits(model.shape) else {
                throw ModelError(
                    .invalidInput,
                    "the attached prompt was made resident for another model or number format than this batch's "
                        + cacheElement.rawValue)
            }
        }
        let needed = reservation(for: request) + (request.prompt?.prefix.byteCount ?? 0)
        guard needed <= limits.cacheBytes else {
            throw ModelError(
                .contextFull,
                "this request may need \(needed) bytes of keys and values, more than the \(limits.cacheBytes) that all "
                    + "sequences may have; ask for fewer tokens")
        }
    }

    /// Tokens it can write before its context ends; its last token needs no position.
    private func maximumTokens(of request: BatchRequest) -> Int {
        let room = model.shape.contextLength - (request.prompt?.count ?? 0) - request.tokens.count
        return min(request.maximumTokens, room + 1)
    }

    /// Bytes of its own keys and values when it writes as much as it may.
    private func reservation(for request: BatchRequest) -> Int {
        let shape = model.shape
        return KVCache.byteCount(
            slots: request.tokens.count + maximumTokens(of: request) - 1, layerCount: shape.layerCount,
            headCount: shape.keyValueHeadCount, headDimension: shape.headDimension, element: cacheElement)
    }

    private func promptBytes(of prompts: [ResidentPrompt]) -> Int {
        var seen: Set<ObjectIdentifier> = []
        return prompts.reduce(0) {
            seen.insert(ObjectIdentifier($1.prefix)).inserted ? $0 + $1.prefix.byteCount : $0
        }
    }

    /// Lets waiting requests in, the longest waiting first, while sequences and bytes allow.
    private func admit() {
        while let (id, request) = waiting.first, running.count < limits.sequences {
            let bytes = reservation(for: request)
            let prompts = promptBytes(of: running.compactMap(\.request.prompt) + [request.prompt].compactMap { $0 })
            guard running.reduce(bytes + prompts, { $0 + $1.reservedBytes }) <= limits.cacheBytes else { return }
            waiting.removeFirst()
            let cache = model.makeCache(
                beginningWith: request.prompt?.prefix, element: cacheElement, canRewind: false)
            let sequence = Running(
                id: id, request: request, cache: cache, reservedBytes: bytes,
                maximumTokens: maximumTokens(of: request))
            sequence.chooser.observe(request.tokens)
            running.append(sequence)
        }
    }

    // MARK: - Steps

    /// Runs one step: admits what fits, computes, and draws a token for every sequence whose text has been read.
    ///
    /// - Returns: what happened, in the order in which the sequences joined; empty when nothing was to do or when all
    ///   rows went into texts that are not read to their end yet.
    /// - Throws: what the model throws; the sequences of the step are then gone.
    public func step() throws -> [(id: ID, event: BatchEvent)] {
        admit()
        let shares = plan()
        guard !shares.isEmpty else { return [] }
        let steps = shares.map { sequence, count in
            let text = sequence.request.tokens
            guard sequence.isReading else {
                return SequenceStep(.tokens([sequence.last]), cache: sequence.cache, logitCount: 1)
            }
            let isLast = sequence.read + count == text.count
            return SequenceStep(
                .tokens(Array(text[sequence.read..<sequence.read + count])), cache: sequence.cache,
                logitCount: isLast ? 1 : 0,
                whole: (text.count, (sequence.request.prompt?.count ?? 0) + text.count))
        }
        do {
            let logits = try model.forward(steps, workspace: workspace)
            for (sequence, count) in shares where sequence.isReading { sequence.read += count }
            draw(for: shares.map(\.sequence).filter { !$0.isReading }, from: logits)
        } catch {
            let gone = Set(shares.map(\.sequence.id))
            running.removeAll { gone.contains($0.id) }
            throw error
        }
        var events: [(id: ID, event: BatchEvent)] = []
        for sequence in running {
            events += sequence.events.map { (sequence.id, $0) }
        }
        running.removeAll { sequence in
            if case .finished = sequence.events.last { return true }
            sequence.events = []
            return false
        }
        return events
    }

    /// How many rows each sequence gets in the next step; those without any are left out.
    private func plan() -> [(sequence: Running, count: Int)] {
        let readers = running.filter(\.isReading)
        let writers = running.count - readers.count
        var left = limits.rows - writers
        if writers > 0 { left = min(left, limits.readingRows) }
        // Equal parts: whoever needs less than a part leaves the rest to the others.
        var parts: [ID: Int] = [:]
        let byNeed = readers.map { (id: $0.id, need: $0.request.tokens.count - $0.read) }
            .enumerated().sorted { ($0.element.need, $0.offset) < ($1.element.need, $1.offset) }.map(\.element)
        for (index, reader) in byNeed.enumerated() {
            let part = min(reader.need, max(left / (byNeed.count - index), left > 0 ? 1 : 0))
            parts[reader.id] = part
            left -= part
        }
        return running.compactMap { sequence in
            let count = sequence.isReading ? parts[sequence.id] ?? 0 : 1
            return count > 0 ? (sequence, count) : nil
        }
    }

    /// Draws the next token of each sequence, on all threads: one row of logits each, in order.
    private func draw(for sequences: [Running], from logits: UnsafeBufferPointer<Float>) {
        let vocabulary = model.shape.vocabularySize
        nonisolated(unsafe) let (sequences, logits) = (sequences, logits)  // every task has a sequence of its own
        model.pool.parallelFor(sequences.count) { index in
            let sequence = sequences[index]
            let row = UnsafeBufferPointer(rebasing: logits[index * vocabulary..<(index + 1) * vocabulary])
            let token = sequence.chooser.next(logits: row)
            if sequence.request.endTokens.contains(token) {
                sequence.events = [.finished(.endOfText)]
                return
            }
            sequence.last = token
            sequence.written += 1
            sequence.events = [.token(token)]
            if sequence.written == sequence.maximumTokens { sequence.events.append(.finished(.length)) }
        }
    }
}
