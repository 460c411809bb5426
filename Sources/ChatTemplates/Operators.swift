import Foundation

/// What operators share.
enum Operators {
    static let tooLarge = TemplateError(.value, "The result does not fit into 64 bits.")
}

extension Evaluator {
    // MARK: - Arithmetic

    func binary(
        _ operation: BinaryOperator, _ a: TemplateValue, _ b: TemplateValue
    ) throws(TemplateError) -> TemplateValue {
        if operation == .remainder, case .string(let format) = a {
            return .string(try percentFormat(format, b))
        }
        if case .undefined(let undefined) = a { throw undefined.error }
        if case .undefined(let undefined) = b { throw undefined.error }
        if let x = a.integer, let y = b.integer { return try integer(operation, x, y) }
        if let x = a.number, let y = b.number { return try double(operation, x, y) }
        switch (operation, a, b) {
        case (.add, .string(let x), .string(let y)): return .string(try add(x, y))
        case (.add, .list(let x), .list(let y)): return .list(try list(x.items + y.items))
        case (.add, .tuple(let x), .tuple(let y)): return .tuple(try list(x.items + y.items))
        case (.multiply, .string(let text), _):
            if let count = b.integer { return .string(try repeated(text, count)) }
        case (.multiply, _, .string(let text)):
            if let count = a.integer { return .string(try repeated(text, count)) }
        case (.multiply, .list(let items), _):
            if let count = b.integer { return .list(try list(repeated(items.items, count))) }
        case (.multiply, _, .list(let items)):
            if let count = a.integer { return .list(try list(repeated(items.items, count))) }
        case (.multiply, .tuple(let items), _):
            if let count = b.integer { return .tuple(try list(repeated(items.items, count))) }
        case (.multiply, _, .tuple(let items)):
            if let count = a.integer { return .tuple(try list(repeated(items.items, count))) }
        default: break
        }
        throw TemplateError(
            .type, "'\(operation.rawValue)' does not go with values of types \(a.typeName) and \(b.typeName).")
    }

    private func add(_ a: TemplateText, _ b: TemplateText) throws(TemplateError) -> TemplateText {
        try budget.chargeText(a.count + b.count)
        var result = a.isMarkup || !b.isMarkup ? a : a.escaped()
        result.append(a.isMarkup && !b.isMarkup ? b.escaped() : b)
        result.isMarkup = a.isMarkup || b.isMarkup
        return result
    }

    private func repeated(_ text: TemplateText, _ count: Int) throws(TemplateError) -> TemplateText {
        let (length, overflow) = text.count.multipliedReportingOverflow(by: max(count, 0))
        try budget.chargeText(overflow ? .max : length)
        var result = TemplateText(scalars: [])
        result.isMarkup = text.isMarkup
        result.scalars.reserveCapacity(length)
        if length > 0 { for _ in 0..<count { result.append(text) } }
        return result
    }

    private func repeated(_ items: [TemplateValue], _ count: Int) throws(TemplateError) -> [TemplateValue] {
        let (length, overflow) = items.count.multipliedReportingOverflow(by: max(count, 0))
        try budget.chargeItems(overflow ? .max : length)
        var result: [TemplateValue] = []
        result.reserveCapacity(length)
        if length > 0 { for _ in 0..<count { result += items } }
        return result
    }

    private func integer(_ operation: BinaryOperator, _ x: Int, _ y: Int) throws(TemplateError) -> TemplateValue {
        let result: (partialValue: Int, overflow: Bool)
        switch operation {
        case .add: result = x.addingReportingOverflow(y)
        case .subtract: result = x.subtractingReportingOverflow(y)
        case .multiply: result = x.multipliedReportingOverflow(by: y)
        case .divide: return try double(.divide, Double(x), Double(y))
        case .floorDivide, .remainder:
            guard y != 0 else { throw TemplateError(.value, "A number is divided by zero.") }
            let (quotient, overflow) = x.dividedReportingOverflow(by: y)
            let remainder = overflow ? 0 : x % y
            let adjusts = remainder != 0 && (remainder < 0) != (y < 0)
            if operation == .remainder { return .int(adjusts ? remainder + y : remainder) }
            result = (adjusts ? quotient - 1 : quotient, overflow)
        case .power:
            if y < 0 { return try double(.power, Double(x), Double(y)) }
            return .int(try power(x, y))
        }
        if result.overflow { throw Operators.tooLarge }
        return .int(result.partialValue)
    }

    private func power(_ base: Int, _ exponent: Int) throws(TemplateError) -> Int {
        var result = 1
        var factor = base
        var left = exponent
        while left > 0 {
            if left & 1 == 1 {
                let (product, overflow) = result.multipliedReportingOverflow(by: factor)
                if overflow { throw Operators.tooLarge }
                result = product
            }
            left >>= 1
            if left > 0 {
                let (square, overflow) = factor.multipliedReportingOverflow(by: factor)
                if overflow { throw Operators.tooLarge }
                factor = square
            }
        }
        return result
    }

    private func double(_ operation: BinaryOperator, _ x: Double, _ y: Double) throws(TemplateError) -> TemplateValue {
        switch operation {
        case .add: return .double(x + y)
        case .subtract: return .double(x - y)
        case .multiply: return .double(x * y)
        case .power:
            if x == 0 && y < 0 { throw TemplateError(.value, "Zero has no negative power.") }
            let result = pow(x, y)
            if result.isNaN && !x.isNaN && !y.isNaN { throw TemplateError(.value, "The power is not a real number.") }
            if result.isInfinite && x.isFinite && y.isFinite { throw TemplateError(.value, "The power is too large.") }
            return .double(result)
        case .divide, .floorDivide, .remainder:
            guard y != 0 else { throw TemplateError(.value, "A number is divided by zero.") }
            if operation == .divide { return .double(x / y) }
            var remainder = fmod(x, y)
            if remainder == 0 {
                remainder = y < 0 ? -0.0 : 0.0
            } else if (remainder < 0) != (y < 0) {
                remainder += y
            }
            if operation == .remainder { return .double(remainder) }
            let quotient = (x - remainder) / y
            return .double(quotient.rounded(.toNearestOrEven))
        }
    }

    // MARK: - Comparison

    func compare(_ operation: Comparison, _ a: TemplateValue, _ b: TemplateValue) throws(TemplateError) -> Bool {
        switch operation {
        case .equal: return try equal(a, b)
        case .unequal: return !(try equal(a, b))
        case .isIn: return try contains(b, a)
        case .isNotIn: return !(try contains(b, a))
        case .less: return try order(a, b, "<") { $0 < 0 }
        case .lessOrEqual: return try order(a, b, "<=") { $0 <= 0 }
        case .greater: return try order(a, b, ">") { $0 > 0 }
        case .greaterOrEqual: return try order(a, b, ">=") { $0 >= 0 }
        }
    }

    /// Python's `==`, with its cost taken from the budget.
    func equal(_ a: TemplateValue, _ b: TemplateValue) throws(TemplateError) -> Bool {
        try budget.charge(1)
        switch (a, b) {
        case (.list(let x), .list(let y)), (.tuple(let x), .tuple(let y)):
            guard x.items.count == y.items.count else { return false }
            for (first, second) in zip(x.items, y.items) where !(try equal(first, second)) { return false }
            return true
        case (.dictionary(let x), .dictionary(let y)):
            guard x.count == y.count else { return false }
            for (key, value) in x.pairs {
                try checkHashable(key)
                guard let other = y[key], try equal(value, other) else { return false }
            }
            return true
        case (.string(let x), .string(let y)):
            try budget.charge(min(x.count, y.count) / 64)
            return x == y
        default: return TemplateValue.plainEquality(a, b) ?? false
        }
    }

    /// Compares the first items that differ; `symbol` is for the message.
    private func order(
        _ a: TemplateValue, _ b: TemplateValue, _ symbol: String, _ holds: (Int) -> Bool
    ) throws(TemplateError) -> Bool {
        let order = try self.order(a, b, symbol)
        return order.map(holds) ?? false
    }

    /// Negative, 0 or positive; `nil` when a number that is none is involved.
    func order(_ a: TemplateValue, _ b: TemplateValue, _ symbol: String = "<") throws(TemplateError) -> Int? {
        try budget.charge(1)
        if case .undefined(let undefined) = a { throw undefined.error }
        if case .undefined(let undefined) = b { throw undefined.error }
        switch (a, b) {
        case (.string(let x), .string(let y)):
            try budget.charge(min(x.count, y.count) / 64)
            return x == y ? 0 : TemplateText.precedes(x, y) ? -1 : 1
        case (.list(let x), .list(let y)), (.tuple(let x), .tuple(let y)):
            for (first, second) in zip(x.items, y.items) where !(try equal(first, second)) {
                return try order(first, second, symbol)
            }
            return x.items.count - y.items.count
        default:
            if let x = a.integer, let y = b.integer { return x == y ? 0 : x < y ? -1 : 1 }
            if let x = a.number, let y = b.number {
                return x.isNaN || y.isNaN ? nil : x == y ? 0 : x < y ? -1 : 1
            }
            throw TemplateError(
                .type, "'\(symbol)' does not go with values of types \(a.typeName) and \(b.typeName).")
        }
    }

    // MARK: - Membership

    func contains(_ container: TemplateValue, _ value: TemplateValue) throws(TemplateError) -> Bool {
        switch container {
        case .string(let text):
            guard let part = value.text else {
                if case .undefined(let undefined) = value { throw undefined.error }
                throw TemplateError(.type, "Only text can be in text, not a value of type \(value.typeName).")
            }
            try budget.charge(text.count / 16 + part.count / 16)
            return try find(part, in: text) != nil
        case .dictionary(let dictionary):
            try checkHashable(value)
            return dictionary[value] != nil
        default:
            for item in try iterate(container) where try equal(item, value) { return true }
            return false
        }
    }

    /// `range(of:)` with its cost taken from the budget.
    func find(
        _ needle: TemplateText, in text: TemplateText, from: Int = 0, to: Int? = nil, last: Bool = false
    ) throws(TemplateError) -> Int? {
        try chargeSearch(needle, in: text)
        return text.range(of: needle, from: from, to: to, last: last)
    }

    func chargeSearch(_ needle: TemplateText, in text: TemplateText) throws(TemplateError) {
        try budget.charge(text.count / 16 + needle.count / 8)
    }

    /// Checks that a value can be a key.
    func checkHashable(_ value: TemplateValue) throws(TemplateError) {
        try budget.charge(1)
        switch value {
        case .list, .dictionary:
            throw TemplateError(.type, "A value of type \(value.typeName) cannot be a key.")
        case .tuple(let list): for item in list.items { try checkHashable(item) }
        case .string(let text): try budget.charge(text.count / 64)
        default: break
        }
    }
}
