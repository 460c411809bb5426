import Foundation
import Testing

@testable import ChatTemplates

/// Templates that try to take time, memory or stack, and those that are broken.
struct HostileTemplateTests {
    /// Small limits, so that unoptimised builds reach them soon too.
    static let tight: TemplateLimits = {
        var limits = TemplateLimits()
        limits.steps = 20_000
        limits.textLength = 1 << 16
        return limits
    }()

    private func failure(
        _ source: String, _ variables: [String: TemplateValue] = [:], limits: TemplateLimits = tight
    ) -> TemplateError.Code? {
        do throws(TemplateError) {
            _ = try ChatTemplate(source, limits: limits).render(variables)
            return nil
        } catch {
            return error.code
        }
    }

    static let nested = 5000
    static func repeated(_ text: String, _ count: Int = nested) -> String { String(repeating: text, count: count) }

    @Test(
        "Nesting beyond the limit is refused, however it is written",
        arguments: [
            "{{ " + repeated("(") + "1" + repeated(")") + " }}",
            "{{ " + repeated("[") + repeated("]") + " }}",
            "{{ " + repeated("{1:") + "1" + repeated("}") + " }}",
            "{{ " + repeated("not ") + "1 }}",
            "{{ " + repeated("-") + "1 }}",
            "{{ " + repeated("-(") + "1" + repeated(")") + " }}",
            "{{ x" + repeated("[x") + repeated("]") + " }}",
            "{{ x" + repeated("(x") + repeated(")") + " }}",
            "{{ x" + repeated(".a") + " }}",
            "{{ x" + repeated("|upper") + " }}",
            "{{ x" + repeated("()") + " }}",
            "{{ 1" + repeated(" if 1") + " }}",
            "{{ " + repeated("1 if 1 else ") + "1 }}",
            "{{ x" + repeated(" is in(x") + repeated(")") + " }}",
            repeated("{% if 1 %}") + repeated("{% endif %}"),
            repeated("{% for x in [1] %}") + repeated("{% endfor %}"),
            repeated("{% macro m() %}") + repeated("{% endmacro %}"),
            repeated("{% set x %}") + repeated("{% endset %}"),
            repeated("{% call m() %}") + repeated("{% endcall %}"),
            "{% set " + repeated("(") + "a" + repeated(")") + " = 1 %}",
            "{% for " + repeated("(") + "a" + repeated(",)") + " in x %}{% endfor %}",
        ])
    func refusesNesting(_ source: String) { #expect(failure(source) == .limit) }

    @Test("Long chains on one level are fine") func allowsChains() throws {
        let sum = "{{ 1" + Self.repeated(" + 1") + " }}"
        #expect(try ChatTemplate(sum).render([:]).text == "\(Self.nested + 1)")
        let choice = "{% if n == 0 %}0" + (1..<2000).map { "{% elif n == \($0) %}\($0)" }.joined() + "{% endif %}"
        #expect(try ChatTemplate(choice).render(["n": 1999]).text == "1999")
    }

    @Test("The deepest nesting that is allowed renders") func allowsNestingUpToTheLimit() throws {
        let depth = 95
        let source =
            Self.repeated("{% if 1 %}", depth) + "x" + Self.repeated("{% endif %}", depth)
        #expect(try ChatTemplate(source).render([:]).text == "x")
        let list = "{{ " + Self.repeated("[", depth) + Self.repeated("]", depth) + " }}"
        #expect(try ChatTemplate(list).render([:]).text.count == 2 * depth)
    }

    @Test(
        "What would take too long or too much memory ends",
        arguments: [
            "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
            "{{ range(100001) }}", "{{ range(-9223372036854775807, 9223372036854775807) }}",
            "{{ 'a' * 1000000000 }}", "{{ 'a' * 9223372036854775807 }}", "{{ [1] * 1000000000 }}",
            "{{ 'ab' * 9223372036854775807 }}",
            "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
            "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
            "{% set ns = namespace(x=[]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
            "{% set ns = namespace(x=[]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}",
            "{% set ns = namespace(x=[], y=[]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
            "{% set ns = namespace(x=[], y=[]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x < ns.y }}",
            "{% set ns = namespace(x=()) %}{% for i in range(99) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} }}",
            "{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}",
            "{% set ns = namespace(x={}) %}{% for i in range(1000) %}{% set ns.x = {'a': ns.x}.get %}{% endfor %}",
            "{% set ns = namespace(x=1) %}{% for i in range(1000) %}{% for j in [ns.x] %}{% set ns.x = loop %}{% endfor %}{% endfor %}",
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{% macro f() %}{% for i in [1, 2] %}{{ f() }}{% endfor %}{% endmacro %}{{ f() }}",
            "{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}",
            "{{ '%1000000000d' % 1 }}", "{{ '{:1000000000}'.format(1) }}", "{{ 'a'.center(1000000000) }}",
            "{{ 'a'|center(10000000000) }}", "{{ 'a'|indent(9223372036854775807, true) }}",
            "{{ [1]|tojson(indent=9223372036854775807) }}", "{{ [1]|batch(9223372036854775807, 'x')|list }}",
            "{{ [1]|slice(9223372036854775807)|list }}", "{{ 'a'.zfill(9223372036854775807) }}",
            "{% set ns = namespace(x='a') %}{% for i in range(20) %}{% set ns.x = ns.x|replace('', ns.x) %}{% endfor %}",
            "{% set x = 'a' * 60000 %}{% for i in range(100000) %}{{ x[1:] is defined }}{% endfor %}",
            "{% set x = 'a' * 60000 %}{% for i in range(100000) %}{{ ('a' * 100 ~ 'b') in x }}{% endfor %}",
            "{% set x = 'a' * 60000 %}{{ x }}{{ x }}",
            "{% set x = 'a' * 40000 %}{{ [x, x, x]|join }}", "{% set x = 'a' * 40000 %}{{ ''.join([x, x, x]) }}",
        ])
    func ends(_ source: String) { #expect(failure(source) == .limit) }

    @Test("Text ends at the standard limit") func endsAtTheStandardLimit() {
        #expect(failure("{{ 'a' * (2 ** 24 + 1) }}", limits: .standard) == .limit)
    }

    @Test(
        "Numbers at the edge are errors, never traps",
        arguments: [
            "{{ 9223372036854775807 + 1 }}", "{{ -9223372036854775807 - 2 }}", "{{ 9223372036854775807 * 2 }}",
            "{{ (-9223372036854775807 - 1) // -1 }}", "{{ -(-9223372036854775807 - 1) }}",
            "{{ (-9223372036854775807 - 1)|abs }}", "{{ 2 ** 64 }}", "{{ 10 ** 1000000000 }}", "{{ 1 % 0 }}",
            "{{ 1.5 % 0 }}", "{{ 0 ** -1 }}", "{{ 1e308|int }}", "{{ '1e308'|int }}", "{{ 10.0 ** 1000 }}",
            "{{ (-8) ** 0.5 }}", "{{ 'a'[::0] }}", "{{ range(1, 2, 0) }}", "{{ '%d' % 1e300 }}",
        ])
    func refusesNumbers(_ source: String) { #expect(failure(source) == .value) }

    @Test(
        "Extreme positions, steps and counts are taken as Python takes them",
        arguments: [
            ("{{ 'abc'[-9223372036854775807:9223372036854775807] }}", "abc"),
            ("{{ 'abc'[::9223372036854775807] }}", "a"), ("{{ 'abc'[::-9223372036854775807] }}", "c"),
            ("{{ 'abc'[9223372036854775807:-9223372036854775807:-1] }}", "cba"),
            ("{{ [1][9223372036854775807] is defined }}", "False"),
            ("{{ [1][-9223372036854775807 - 1] is defined }}", "False"),
            ("{{ 'aa'.split('a', 9223372036854775807) }}", "['', '', '']"),
            ("{{ 'aa'.replace('a', 'b', -9223372036854775807) }}", "bb"),
            ("{{ 'aa'.find('a', 9223372036854775807) }}", "-1"),
            ("{{ 'aa'.find('a', -9223372036854775807, -9223372036854775807) }}", "-1"),
            ("{{ range(9223372036854775800, 9223372036854775807, 5)|list|length }}", "2"),
            ("{{ (-9223372036854775807 - 1) % -1 }}", "0"),
            ("{{ 'a'.center(-9223372036854775807) }}", "a"), ("{{ 'a' * -9223372036854775807 }}", ""),
            ("{{ 'abc'[:-9223372036854775807 - 1] }}", ""),
        ])
    func takesExtremes(_ source: String, _ expected: String) throws {
        #expect(try ChatTemplate(source).render([:]).text == expected)
    }

    @Test(
        "Broken templates are syntax errors",
        arguments: [
            "{{", "{%", "{#", "{{ }}", "{% %}", "{{ 1 +", "{{ 'a", "{{ 'a\\", "{{ '\\x4' }}", "{{ '\\U00110000' }}",
            "{{ '\\N{DASH}' }}",
            "{{ a b }}", "{{ a. }}", "{{ a[ }}", "{{ a[] }}", "{{ a[1:2:3:4] }}", "{{ f(a=1, 2) }}", "{{ f(**a, *b) }}",
            "{{ f(a=1, a=2) }}", "{{ [1 2] }}", "{{ {1} }}", "{{ $ }}", "{{ 99999999999999999999 }}", "{{ a | }}",
            "{{ a is }}",
            "{% if x %}", "{% if x %}{% endfor %}", "{% else %}", "{% endif %}", "{% for x %}{% endfor %}",
            "{% nope %}",
            "{% for true in x %}{% endfor %}", "{% set none = 1 %}", "{% break %}",
            "{% macro m(a=1, b) %}{% endmacro %}",
            "{% for x in y %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", "{% raw %}",
            "{% call 1 %}{% endcall %}",
            "{% set x", "{% block %}{% endblock %}", "{{ ) }}", "{{ (] }}", "{% filter %}{% endfilter %}",
            "{{ 1 is 2 }}",
        ])
    func refusesBrokenSyntax(_ source: String) { #expect(failure(source) == .syntax) }

    @Test("Other templates cannot be reached", arguments: ["include", "import", "from", "extends"])
    func refusesOtherTemplates(_ tag: String) { #expect(failure("{% \(tag) 'x' %}") == .unsupported) }

    @Test("Values from outside are bounded too") func boundsVariables() {
        var value = TemplateValue.list([])
        for _ in 0..<200 { value = .list([value]) }
        #expect(failure("{{ x is defined }}", ["x": value]) == .limit)
        #expect(throws: TemplateError.self) { try TemplateValue(json: String(repeating: "[", count: 100_000)) }
        #expect(throws: TemplateError.self) { try TemplateValue(json: "18446744073709551616") }
    }

    @Test("A template of more than 4 Mi characters is refused") func boundsSource() {
        #expect(failure(String(repeating: " ", count: 5 << 20)) == .limit)
    }

    @Test("Namespaces and macros that refer to each other are let go in the end") func leaksNothing() throws {
        final class Probe: TemplateObject, @unchecked Sendable {}
        weak var probe: Probe?
        do {
            let object = Probe()
            probe = object
            let source = """
                {% set a = namespace() %}{% set b = namespace(a=a, p=p) %}{% set a.b = b %}{% set a.a = a %}
                {% macro m() %}{{ m }}{{ p }}{% set q = p %}{% endmacro %}{% set a.m = m %}{{ m() }}
                {% for x in [a] %}{% set a.l = loop %}{{ loop.changed(loop, p) }}{% endfor %}
                """
            _ = try ChatTemplate(source).render(["p": .object(object)])
        }
        #expect(probe == nil)
    }
}
