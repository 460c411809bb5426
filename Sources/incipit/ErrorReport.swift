import ArgumentParser
import ByteIO
import ChatTemplates
import Conversion
import Foundation
import GGUF
import Generation
import Kernels
import LanguageModels
import OCIArtifacts
import PromptRegistry
import PromptTuning
import Safetensors
import SoftPrompts
import TensorTypes
import Tokenization

/// The one place where errors become exit codes.
enum ErrorReport {
    /// Prints the error as one sentence on standard error and ends the process.
    static func exit(_ error: any Error) -> Never {
        guard let status = status(of: error) else { IncipitCommand.exit(withError: error) }
        Output.note("incipit: \(error)")
        Foundation.exit(status.rawValue)
    }

    /// The exit code of an error of ours; nil for what ArgumentParser reports itself (usage, help, version).
    private static func status(of error: any Error) -> ExitStatus? {
        switch error {
        case let failure as CommandFailure: return failure.status
        case let error as RegistryError:
            switch error.code {
            case .manifestUnknown, .nameUnknown, .blobUnknown: return .notFound
            case .transport, .unauthorized, .tooManyRequests, .storage: return .unavailable
            case .corrupt, .digestInvalid, .sizeInvalid, .manifestInvalid, .notASoftPrompt, .untrusted: return .data
            case .nameInvalid: return .usage
            default: return .failure
            }
        case let error as OCIArtifactError:
            return error.code == .signatureInvalid || error.code == .keyInvalid ? .data : .usage
        case let error as TuningError: return error.code == .invalidSetting ? .usage : .data
        case let error as ByteIOError:
            switch error.code {
            case .notFound: return .notFound
            case .cancelled: return .interrupted
            case .alreadyExists: return .usage
            case .changed, .notRegularFile, .outOfBounds, .invalidJSON, .duplicateKey, .unexpectedJSON: return .data
            default: return .unavailable
            }
        case let error as GGUFError where error.code == .refusedEdit || error.code == .notFirstPart: return .usage
        case let error as SafetensorsError where error.code == .missingFile: return .notFound
        case let error as ConversionError:
            switch error.code {
            case .missingFile: return .notFound
            case .invalidRequest: return .usage
            case .destination: return .unavailable
            default: return .data
            }
        case is GGUFError, is SafetensorsError, is TensorTypeError, is KernelsError, is ModelError,
            is TokenizationError, is SoftPromptError, is TemplateError:
            return .data
        case is SamplerSettingsError: return .usage
        case let error as GrammarError: return error.code == .noToken ? .failure : .data
        default:
            let module = String(reflecting: type(of: error)).prefix { $0 != "." }
            // ArgumentParser's own errors: it knows how to show usage beside them.
            if module == "ArgumentParser" { return nil }
            return .failure
        }
    }
}
