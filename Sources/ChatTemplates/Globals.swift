import Foundation

/// The functions that every chat template can call.
enum Globals {
    static let all: [String: TemplateValue] = [
        "range": function("range") { evaluator, arguments throws(TemplateError) in
            let first = try integer(&arguments, "start")
            let second = arguments.count > 0 ? try integer(&arguments, "stop") : nil
            let step = arguments.count > 0 ? try integer(&arguments, "step") : 1
            return try range(second == nil ? 0 : first, second ?? first, step, evaluator)
        },
        "namespace": function("namespace") { evaluator, arguments throws(TemplateError) in
            let namespace = TemplateNamespace()
            try evaluator.budget.charge(4 * Budget.step)
            evaluator.release { namespace.values = [:] }
            for (name, value) in try pairs(&arguments, evaluator) {
                guard let name = name.text else { throw TemplateError(.type, "Names of attributes are text.") }
                try namespace.set(name, value)
            }
            return .object(namespace)
        },
        "dict": function("dict") { evaluator, arguments throws(TemplateError) in
            try evaluator.dictionary(try pairs(&arguments, evaluator))
        },
        "raise_exception": function("raise_exception") { evaluator, arguments throws(TemplateError) in
            throw TemplateError(.raised, try evaluator.text(try arguments.require("message")).string)
        },
        "strftime_now": function("strftime_now") { evaluator, arguments throws(TemplateError) in
            .string(TemplateText(try formattedTime(try arguments.requireText("format").string, evaluator.now())))
        },
        "cycler": function("cycler") { evaluator, arguments throws(TemplateError) in
            let items = try evaluator.list(arguments.takeAll())
            guard !items.items.isEmpty else { throw TemplateError(.type, "cycler needs items.") }
            return .object(Cycler(items))
        },
        "joiner": function("joiner") { evaluator, arguments throws(TemplateError) in
            let separator = try arguments.take("sep") ?? ", "
            var isUsed = false
            return .object(
                TemplateFunction("joiner", receiver: separator) { _, _ throws(TemplateError) in
                    defer { isUsed = true }
                    return isUsed ? separator : ""
                })
        },
        "lipsum": function("lipsum") { _, _ throws(TemplateError) in
            throw TemplateError(.unsupported, "The function 'lipsum' is not supported.")
        },
    ]

    private static func function(_ name: String, _ body: @escaping TemplateFunction.Body) -> TemplateValue {
        .object(TemplateFunction(name, body))
    }

    private static func integer(_ arguments: inout Arguments, _ name: String) throws(TemplateError) -> Int {
        let value = try arguments.require(name)
        if case .undefined(let undefined) = value { throw undefined.error }
        guard let integer = value.integer else {
            throw TemplateError(.type, "range wants integers, not \(value.typeName).")
        }
        return integer
    }

    private static func range(
        _ start: Int, _ end: Int, _ step: Int, _ evaluator: Evaluator
    ) throws(TemplateError) -> TemplateValue {
        guard step != 0 else { throw TemplateError(.value, "The step of a range is not zero.") }
        let (span, overflow) =
            step > 0 ? end.subtractingReportingOverflow(start) : start.subtractingReportingOverflow(end)
        let isEmpty = step > 0 ? end <= start : start <= end
        let limit = evaluator.budget.limits.rangeLength
        let count = isEmpty ? 0 : overflow ? .max : Int((UInt(span) - 1) / step.magnitude) + 1
        guard count <= limit else {
            throw TemplateError(.limit, "A range has at most \(limit) items.")
        }
        try evaluator.budget.chargeItems(count)
        return .object(
            try TemplateSequence(
                .range, (0..<count).map { .int(start + $0 * step) }, bounds: (start, end, step),
                budget: evaluator.budget))
    }

    /// What `dict` and `namespace` take: a dictionary or pairs, and keyword arguments.
    private static func pairs(
        _ arguments: inout Arguments, _ evaluator: Evaluator
    ) throws(TemplateError) -> [(TemplateValue, TemplateValue)] {
        var pairs: [(TemplateValue, TemplateValue)] = []
        if arguments.count > 0 {
            let first = try arguments.require("pairs")
            if case .dictionary(let dictionary) = first {
                pairs = dictionary.pairs
            } else {
                if case .undefined(let undefined) = first { throw undefined.error }
                for item in try evaluator.iterate(first) {
                    let pair = try evaluator.iterate(item)
                    guard pair.count == 2 else { throw TemplateError(.value, "Pairs have two items.") }
                    try evaluator.checkHashable(pair[0])
                    pairs.append((pair[0], pair[1]))
                }
            }
        }
        for (name, value) in arguments.takeKeywords() { pairs.append((.string(name), value)) }
        return pairs
    }

    /// The local time as the C library's `strftime` writes it.
    private static func formattedTime(_ format: String, _ now: Double) throws(TemplateError) -> String {
        guard format.utf8.count <= 1000, !format.contains("\0"), now.isFinite, abs(now) < 1e11 else {
            throw TemplateError(.value, "The format of the time is too long.")
        }
        var seconds = time_t(now)
        var parts = tm()
        guard localtime_r(&seconds, &parts) != nil else { throw TemplateError(.value, "There is no such time.") }
        // %f is Python's own; widths such as %100000d are the C library's.
        let safe = format.replacingOccurrences(
            of: "%f", with: String(format: "%06d", Int((now - now.rounded(.down)) * 1e6)))
        var buffer = [CChar](repeating: 0, count: 16384)
        let count = safe.isEmpty ? 0 : strftime(&buffer, buffer.count, safe, &parts)
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// What `cycler(…)` makes.
final class Cycler: TemplateObject, @unchecked Sendable {
    private let items: [TemplateValue]
    private var position = 0

    init(_ list: TemplateList) {
        items = list.items
        super.init(depth: list.depth)
    }

    override func attribute(_ name: TemplateText) -> TemplateValue? {
        switch name.string {
        case "current": items[position]
        case "next":
            .object(
                TemplateFunction("next", receiver: .object(self)) { [self] _, _ throws(TemplateError) in
                    defer { position = (position + 1) % items.count }
                    return items[position]
                })
        case "reset":
            .object(
                TemplateFunction("reset", receiver: .object(self)) { [self] _, _ throws(TemplateError) in
                    position = 0
                    return .none
                })
        default: nil
        }
    }
}
