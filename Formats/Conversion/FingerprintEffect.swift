import GGUF

extension ModelFingerprint {
    /// Which parts of the fingerprint a change of metadata alters: "tokenizer", "architecture", both, or none.
    ///
    /// Nothing is hashed: the weights stay what they are.
    /// - Throws: ``FingerprintError`` or ``GGUF/GGUFError`` when the metadata after the change cannot be read as a model's.
    public static func partsChanged(in file: GGUFFile, by metadata: GGUFMetadata) throws -> [String] {
        let after = file.replacing(metadata: metadata)
        var parts: [String] = []
        if try TokenizerIdentity.json(of: file.metadata).counted != TokenizerIdentity.json(of: after.metadata).counted {
            parts.append("tokenizer")
        }
        if try ArchitectureIdentity.json(of: GGUFSource(file)) != ArchitectureIdentity.json(of: GGUFSource(after)) {
            parts.append("architecture")
        }
        return parts
    }
}
