import LanguageModels

/// What a generation goes on from: gives logits behind tokens. A session is one; so are several that answer together.
public protocol GenerationContext: AnyObject {
    var model: any LanguageModel { get }
    /// Virtual tokens at the front.
    var attachedCount: Int { get }
    /// Positions in use, virtual tokens included.
    var position: Int { get }
    /// Positions left in the model's context.
    var remaining: Int { get }

    /// Runs tokens behind what is there.
    ///
    /// - Returns: `logitCount` rows of `vocabularySize` logits, valid until the next use.
    /// - Throws: `ModelError.contextFull` when the tokens do not fit the context.
    func append(_ tokens: [Int], logitCount: Int) throws -> UnsafeBufferPointer<Float>

    /// Forgets everything behind `position`, by default all but the attached prompt; returns the position reached.
    @discardableResult
    func reset(to position: Int?) -> Int

    /// Runs a whole text, of which what is already there is not computed again.
    func replace(with tokens: [Int]) throws -> (logits: UnsafeBufferPointer<Float>, reused: Int)
}

extension Session: GenerationContext {}
