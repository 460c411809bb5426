import Fixtures
import Foundation
import Testing

@testable import ChatTemplates

/// Small templates and what jinja2 made of them; see `Fixtures/Scripts/make_chat_templates.py`.
struct GoldenTemplateTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name, template: String
        let text, error: String?
        var testDescription: String { name }
    }

    static let golden: (variables: [String: TemplateValue], cases: [Case]) = {
        do {
            let data = try Data(contentsOf: Fixtures.url("Golden/chat-templates.json"))
            let root = try TemplateValue(json: String(decoding: data, as: UTF8.self))
            guard case .dictionary(let parts) = root, case .dictionary(let variables)? = parts["variables"],
                case .list(let cases)? = parts["cases"]
            else { return ([:], []) }
            var named: [String: TemplateValue] = ["add_generation_prompt": true]
            for key in variables.keys { if let name = key.text?.string { named[name] = variables[name] } }
            return (
                named,
                cases.items.compactMap { item in
                    guard case .dictionary(let fields) = item else { return nil }
                    func text(_ name: String) -> String? { fields[name]?.text?.string }
                    return Case(
                        name: text("name") ?? "", template: text("template") ?? "", text: text("text"),
                        error: text("error"))
                }
            )
        } catch {
            return ([:], [])
        }
    }()

    @Test("The golden file is there and holds its cases") func isRead() {
        #expect(Self.golden.cases.count >= 90)
        #expect(Self.golden.variables.count > 10)
    }

    @Test("A template renders as jinja2 renders it, or fails in the same way", arguments: golden.cases)
    func renders(_ golden: Case) throws {
        do throws(TemplateError) {
            let rendered = try ChatTemplate(golden.template).render(Self.golden.variables)
            #expect(rendered.text == golden.text)
        } catch {
            #expect(error.code.description == golden.error, "\(error)")
            #expect(error.line != nil && error.column != nil)
        }
    }

    @Test("Marking all variables as input changes no text", arguments: golden.cases.filter { $0.text != nil })
    func marksNothingVisible(_ golden: Case) throws {
        let marked = Self.golden.variables.mapValues { $0.markedAsInput() }
        #expect(try ChatTemplate(golden.template).render(marked).text == golden.text)
    }
}
