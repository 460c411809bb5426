/// A dictionary that keeps the order in which keys were first given. Templates cannot change one.
public struct TemplateDictionary: Sendable {
    private final class Storage: Sendable {
        let keys: [TemplateValue]
        let values: [TemplateValue]
        /// Only for more keys than a search through is good for.
        let index: [TemplateValue: Int]?
        let depth: Int32

        init(keys: [TemplateValue], values: [TemplateValue], index: [TemplateValue: Int]?) {
            self.keys = keys
            self.values = values
            self.index = index
            depth = max(TemplateList.depth(keys), TemplateList.depth(values))
        }
    }

    private let storage: Storage
    private static let searched = 8

    /// A dictionary with text as keys. A key given again keeps its place and takes the later value.
    public init(_ pairs: [(String, TemplateValue)]) {
        self.init(pairs: pairs.map { (.string($0.0), $0.1) })
    }

    /// Keys must be hashable: see `Operators`.
    init(pairs: [(TemplateValue, TemplateValue)]) {
        var keys: [TemplateValue] = []
        var values: [TemplateValue] = []
        var index: [TemplateValue: Int] = [:]
        keys.reserveCapacity(pairs.count)
        values.reserveCapacity(pairs.count)
        for (key, value) in pairs {
            if let place = index[key] {
                values[place] = value
            } else {
                index[key] = keys.count
                keys.append(key)
                values.append(value)
            }
        }
        storage = Storage(keys: keys, values: values, index: keys.count > TemplateDictionary.searched ? index : nil)
    }

    public var count: Int { storage.keys.count }
    public var keys: [TemplateValue] { storage.keys }
    public var values: [TemplateValue] { storage.values }
    var depth: Int32 { storage.depth }

    /// The pairs in order, as tuples.
    var items: [TemplateValue] { zip(keys, values).map { .tuple([$0, $1]) } }
    var pairs: [(TemplateValue, TemplateValue)] { Array(zip(keys, values)) }

    public subscript(key: String) -> TemplateValue? { self[.string(key)] }

    subscript(key: TemplateValue) -> TemplateValue? {
        if let index = storage.index { return index[key].map { storage.values[$0] } }
        for (place, candidate) in storage.keys.enumerated() where candidate == key { return storage.values[place] }
        return nil
    }

    func isEqual(to other: TemplateDictionary) -> Bool {
        guard count == other.count else { return false }
        for (key, value) in zip(keys, values) where other[key] != value { return false }
        return true
    }

    func markedAsInput() -> TemplateDictionary {
        TemplateDictionary(pairs: pairs.map { ($0.markedAsInput(), $1.markedAsInput()) })
    }
}
