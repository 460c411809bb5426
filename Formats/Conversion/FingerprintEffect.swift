import GGUF

extension ModelFingerprint {
    /// Which parts of the fingerprint a change of metadata alters: "tokenizer", "architecture", both, or none.
    ///
    /// Nothing is hashed: the weights stay what they are. A file that has no fingerprint before the change (an adapter,
    /// say) has none to lose; metadata that no longer describes a model after it counts as another architecture.
    public static func partsChanged(in file: GGUFFile, by metadata: GGUFMetadata) -> [String] {
        let after = file.replacing(metadata: metadata)
        var parts: [String] = []
        if let before = try? TokenizerIdentity.json(of: file.metadata).counted,
            before != (try? TokenizerIdentity.json(of: after.metadata).counted)
        {
            parts.append("tokenizer")
        }
        if let before = try? ArchitectureIdentity.json(of: GGUFSource(file)),
            before != (try? ArchitectureIdentity.json(of: GGUFSource(after)))
        {
            parts.append("architecture")
        }
        return parts
    }
}
