#!/usr/bin/env python3
"""Make Golden/chat-templates.json: small templates of our own and what jinja2 renders for them.

    python make_chat_templates.py        (needs jinja2 3.1.6 or newer)

The environment is that of transformers' apply_chat_template. A case whose rendering fails has an `error` instead of a
`text`: the kind of failure, as TemplateError.Code names it.
"""

import json
import os

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

MESSAGES = [
    {"role": "system", "content": " Be kind.\n"},
    {"role": "user", "content": "Hi <there> & \"you\" — é 日本 🦦"},
    {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "now", "arguments": {"zone": "CET", "n": 2.5}}}]},
    {"role": "tool", "content": "noon"},
]
VARIABLES = {
    "messages": MESSAGES, "s": "Hello, World", "n": 7, "f": 2.5, "t": True, "nothing": None,
    "xs": [3, 1, 2], "words": ["b", "A", "c", "B"], "empty": [], "d": {"b": 1, "a": [1, "x", None], "c": {"k": True}},
    "rows": [{"name": "x", "v": 2, "in": {"z": 1}}, {"name": "Y", "v": 1}, {"name": "z", "v": 2, "in": {"z": 0}}],
    "text": "  one\ttwo\n\nthree  ", "bos_token": "<s>",
}
CASES = {
    # White space
    "trim_blocks": "a\n{% if t %}\nb\n{% endif %}\nc\n",
    "lstrip_blocks": "a\n   {% if t %}\n  b\n   {% endif %}\n  c  {% if t %}d{% endif %}\n",
    "minus": "a  \n {%- if t -%}  \n b {{- n -}}  \n c {%- endif %} d",
    "plus": "a\n  {%+ if t +%}\nb\n  {%+ endif %}\nc",
    "comments": "a {# x\n y #}\nb {#- z -#} c\n   {# own line #}\nd",
    "raw": "{% raw %}\n {{ x }} {% if %}{% endraw %}\n|{%- raw -%}  y  {%- endraw -%}  |\n   {% raw %} z{% endraw %}",
    "trailing lines": "a\n\n",
    "line ends": "a\r\nb\rc\n{% if t %}\r\nd{% endif %}",
    "variable keeps lines": "a\n  {{ n }}\nb",
    # Literals and output
    "numbers": "{{ 1 }} {{ 1_000 }} {{ 0x1F }} {{ 0b11 }} {{ 0o17 }} {{ 1.5 }} {{ 1e3 }} {{ 2.5e-7 }} {{ 1e16 }} {{ 123456789.0 }} {{ 0.1 + 0.2 }} {{ -0.0 }} {{ 1e300 * 1e10 }}",
    "strings": r"""{{ 'a\n\t\x41\u00e9\'"' }}{{ "b" "c" 'd' }}{{ '\q\\' }}{{ 'é\é' }}""",
    "constants": "{{ true }} {{ False }} {{ none }} {{ None }} {{ nothing }} {{ t }}",
    "containers": "{{ [1, 'a', none, true, 1.0] }} {{ (1,) }} {{ () }} {{ 1, 2 }} {{ {'a': 1, 2: [\"it's\"], none: 'say \"x\"'} }} {{ d }}",
    "repr escapes": r"""{{ ['\n\t\r\\', "a'b", 'a"b', "a'\"b", '\x07\x7f\xa0\u200b', 'é日🦦'] }}""",
    "undefined prints nothing": "[{{ missing }}] [{{ d.missing }}] [{{ xs[9] }}] [{{ missing ~ 'x' }}]",
    # Operators
    "arithmetic": "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1 + true }} {{ 10 - 3 - 2 }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }}",
    "text operators": "{{ 'a' + 'b' }} {{ 'a' ~ 1 ~ none ~ 2.0 }} {{ 'ab' * 3 }} {{ 3 * [1] }} {{ 'x' * -1 }}|{{ [1] + [2] }}",
    "comparisons": "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ 1 == 1.0 }} {{ true == 1 }} {{ [1, 2] < [1, 3] }} {{ 'a' in 'cat' }} {{ 2 in xs }} {{ 'b' in d }} {{ 1 not in xs }} {{ {'a': 1} == {'a': 1.0} }} {{ (1, 2) == [1, 2] }} {{ none == false }}",
    "logic": "{{ 0 or 'x' }} {{ '' and 'y' }}| {{ not empty }} {{ not not t }} {{ 1 and 2 or 3 }} {{ missing or 'z' }}",
    "inline if": "{{ 'a' if t else 'b' }} {{ 'a' if not t }}| {{ 'x' if n > 9 else 'y' if n > 5 else 'z' }}",
    "precedence": "{{ 1 ~ 2 * 3 ~ 4 }} {{ 'a' + 'b' | upper }} {{ -n | abs }} {{ not n is even }} {{ (1 + 2)|string + 'x' }} {{ n is odd and t }}",
    "filter after number": "{{ 3.7|int + 1 }} {{ '%s-%d' % ('a', 3) }} {{ 10 % 4 }}",
    # Subscripts
    "slices": "{{ s[1:4] }} {{ s[::-1] }} {{ s[-5:] }} {{ s[:-7] }} {{ s[10:2:-3] }} {{ xs[::-1] }} {{ xs[1:] }} {{ xs[5:] }} {{ s[-100:3] }} {{ xs[::2] }} {{ s[100::-4] }}",
    "subscripts": "{{ xs[0] }} {{ xs[-1] }} {{ d.b }} {{ d['a'][1] }} {{ d.c.k }} {{ s[0] }} {{ xs.0 }} {{ rows[0]['in'].z }} {{ d['items']().__len__ is undefined }}",
    "key before method": "{{ {'items': 5}['items'] }} {{ {'get': 5}.get('get') }}",
    # Statements
    "if": "{% if n > 9 %}a{% elif n > 5 %}b{% else %}c{% endif %}",
    "loop": "{% for x in xs %}{{ loop.index }}/{{ loop.length }}:{{ x }}{{ ',' if not loop.last }}{{ loop.first }}{{ loop.revindex }} {% endfor %}",
    "loop neighbours": "{% for x in xs %}[{{ loop.previtem }}|{{ x }}|{{ loop.nextitem is defined }}]{% endfor %}",
    "loop else and if": "{% for x in empty %}x{% else %}none{% endfor %} {% for x in xs if x > 1 %}{{ loop.index0 }}{{ x }}{% else %}-{% endfor %}",
    "loop controls": "{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x > 4 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "loop cycle and changed": "{% for x in [1, 1, 2] %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x) }} {% endfor %}",
    "loop unpacks": "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a + b + c }}{% endfor %}",
    "recursive loop": "{% for x in [[1, [2]], 3] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{{ loop.depth }}{% endif %}{% endfor %}",
    "loop over text and keys": "{% for c in 'abc' %}{{ c }}.{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for x in missing %}x{% endfor %}",
    "scopes": "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 9 %}{{ x }}{% endfor %}{{ x }}{% if t %}{% set x = 5 %}{% endif %}{{ x }}",
    "namespace": "{% set ns = namespace(a=1, b='x') %}{% for i in xs %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}",
    "set": "{% set a, b = 1, [2] %}{{ a }}{{ b }}{% set c %}x{{ n }}y{% endset %}{{ c }}{% set e | upper | trim %} abc {% endset %}{{ e }}",
    "with": "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "macro": "{% macro m(a, b=2, c=a) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, c=3) }}{{ m('x', b=none) }}{{ m() }}{{ m.name }}",
    "macro rest": "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, k=4) }}{{ m(*[5, 6], **{'z': 7}) }}",
    "macro recursion": "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "macro sees later values": "{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}{% for x in [7] %}{{ m() }}{% endfor %}",
    "call": "{% macro box(t) %}<{{ t }}>{{ caller('q') }}</{{ t }}>{% endmacro %}{% call(x) box('b') %}in {{ x }} {{ n }}{% endcall %}",
    "filter block": "{% filter upper | replace('B', '-') %}abc {{ n }}{% endfilter %}",
    "generation": "{% for m in messages %}{% generation %}{{ m.role }}\n{% endgeneration %}{% endfor %}",
    # Filters
    "tojson": "{{ d|tojson }}{{ messages[1]|tojson }}{{ messages[2].tool_calls|tojson(indent=2) }}{{ {'b': 1, 'a': []}|tojson(sort_keys=true, separators=(',', ':')) }}{{ ['é', '\\u2028', '🦦', '\\x7f', '<']|tojson(ensure_ascii=true) }}{{ [1.0, 1e16, none, true, {}]|tojson }}{{ [[], {}, [1]]|tojson(indent=1) }}",
    "text filters": "{{ s|upper }}{{ s|lower }}{{ 'hello wORLD-x'|title }}{{ 'aBC'|capitalize }}[{{ text|trim }}][{{ 'xxaxx'|trim('x') }}]{{ s|replace('o', '0', 1) }}{{ 'ab'|center(7) }}|{{ 'a b  c'|wordcount }}",
    "indent": "{{ 'a\n\nb\n'|indent }}|{{ 'a\nb'|indent(2, true) }}|{{ 'a\n\nb'|indent('> ', blank=true) }}",
    "default": "{{ missing|default('x') }}{{ nothing|default('x') }}{{ nothing|default('x', true) }}{{ ''|d('y', boolean=true) }}",
    "numbers by filters": "{{ '42'|int }} {{ 'x'|int }} {{ 'x'|int(5) }} {{ '0x1f'|int(base=16) }} {{ '3.9'|int }} {{ 3.99|int }} {{ '2.5'|float }} {{ 42.55|round(1) }} {{ 2.5|round }} {{ 3.5|round|int }} {{ 42.1|round(0, 'ceil') }} {{ -5|abs }} {{ 7|round }}",
    "sequences": "{{ xs|first }}{{ xs|last }}{{ xs|length }}{{ xs|sort }}{{ xs|sort(reverse=true) }}{{ words|sort }}{{ words|sort(case_sensitive=true) }}{{ words|unique|list }}{{ xs|sum }}{{ xs|min }}{{ words|max }}{{ 'abc'|list }}{{ xs|reverse|list }}{{ 'abc'|reverse }}",
    "join": "{{ xs|join(', ') }}|{{ rows|join('-', attribute='name') }}|{{ [1, none, 'x']|join }}",
    "map and select": "{{ rows|map(attribute='name')|list }}{{ words|map('upper')|join }}{{ rows|selectattr('in')|map(attribute='in.z')|list }}{{ rows|selectattr('v', 'equalto', 2)|list|length }}{{ rows|rejectattr('in', 'defined')|map(attribute='name')|first }}{{ [0, 1, '']|select|list }}{{ xs|select('odd')|list }}{{ xs|reject('in', [1, 2])|list }}{{ rows|map(attribute='in', default='-')|list }}",
    "dictionaries": "{{ d|items|list }}{{ d|dictsort }}{{ {'B': 1, 'a': 2}|dictsort(true) }}{{ d|dictsort(reverse=true)|first }}{{ d|length }}{{ missing|items|list }}{{ dict(a=1, **{'b': 2}) }}{{ {'a': 2, 'b': 1}|dictsort(by='value') }}",
    "groups": "{{ [1, 2, 3, 4, 5]|batch(2, '-')|list }}{{ [1, 2, 3, 4, 5]|slice(3, '-')|list }}{% for k, v in rows|groupby('v') %}{{ k }}:{{ v|length }};{% endfor %}{{ rows|sort(attribute='v,name')|map(attribute='name')|list }}",
    "markup": "{{ '<b>'|e }}{{ '<b>'|safe }}{{ ('<i>'|safe) + '<u>' }}{{ '<u>' + ('<i>'|safe) }}{{ '<u>' ~ ('<i>'|safe) }}{{ ('a'|e) is escaped }}{{ '<'|e|e }}{{ '<'|e|forceescape }}",
    "other filters": "{{ 'a b/ü'|urlencode }} {{ {'a': 'x y'}|urlencode }} {{ 'one two three four'|truncate(9) }} {{ 'one two three four'|truncate(9, true, '…') }} {{ 5|string + 'x' }} {{ '%s=%.2f'|format('a', 2.345) }}",
    # Tests
    "tests": "{{ missing is defined }}{{ n is number }}{{ t is number }}{{ t is boolean }}{{ n is integer }}{{ f is float }}{{ s is string }}{{ d is mapping }}{{ xs is sequence }}{{ s is sequence }}{{ d is sequence }}{{ xs is iterable }}{{ n is iterable }}{{ nothing is none }}{{ t is true }}{{ 1 is true }}{{ n is divisibleby 7 }}{{ n is divisibleby(2) }}{{ 'a' is lower }}{{ 'A1' is upper }}{{ n is eq 7 }}{{ n is in xs }}{{ 2 is in(xs) }}{{ range is callable }}{{ 'upper' is filter }}{{ 'nope' is test }}{{ n is not none }}{{ xs|map('int') is sequence }}{{ n is sameas 7 }}{{ n is gt 3 }}",
    "undefined as sequence and index": "{{ missing is sequence }}{{ missing is iterable }}[{{ xs[missing] }}]{{ range(-2) }}{{ range(n, 5) }}{{ range(0, 9, 4) }}",
    "formatted truth": "{{ '{} {:d} {:5}|{:,}'.format(t, t, t, t) }}",
    # Methods
    "strip and split": "[{{ text.strip() }}][{{ text.lstrip() }}][{{ text.rstrip() }}][{{ 'xyax'.strip('xy') }}]{{ text.split() }}{{ 'a,b,,c'.split(',') }}{{ 'a,b,c'.split(',', 1) }}{{ 'a,b,c'.rsplit(',', 1) }}{{ 'a b c'.split(maxsplit=1) }}{{ 'a\nb\r\nc'.splitlines() }}{{ ''.split() }}{{ ''.split(',') }}{{ 'a</think>b'.split('</think>')[-1] }}",
    "text methods": "{{ s.upper() }}{{ s.lower() }}{{ \"it's a dog\".title() }}{{ 'aBC'.capitalize() }}{{ s.startswith('He') }}{{ s.endswith(('x', 'ld')) }}{{ s.replace('l', 'L', 2) }}{{ ', '.join(words) }}{{ s.find('o') }}{{ s.rfind('o') }}{{ s.find('zz') }}{{ s.count('l') }}{{ s.index('W') }}{{ '7'.zfill(3) }}{{ '-7'.zfill(4) }}{{ 'a'.center(4, '*') }}{{ 'a'.ljust(3) }}|{{ 'ab'.isalpha() }}{{ '12'.isdigit() }}{{ 'a-b-c'.partition('-') }}{{ 'a-b-c'.rpartition('-') }}{{ 'prefix'.removeprefix('pre') }}{{ 'ß'.upper() }}{{ 'ΑΣ'.lower() }}{{ ' '.isspace() }}{{ 'aB'.swapcase() }}",
    "dictionary methods": "{{ d.get('b') }}{{ d.get('zz') }}{{ d.get('zz', 5) }}{{ d.keys()|list }}{{ d.values()|list }}{{ d.items() }}{{ d.keys() }}{{ d.items()|length }}{{ xs.index(1) }}{{ xs.count(3) }}",
    "format method": "{{ '{} {}'.format(1, 'a') }}{{ '{1}{0}{x}'.format(1, 2, x=[3]) }}{{ '{0.a}{0[b]}'.format({'a': 1, 'b': 2}) }}{{ '{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd') }}{{ '{:05d}{:+d}{:x}{:#x}{:b}{:,}'.format(42, 7, 255, 255, 5, 1234567) }}{{ '{:.2f}{:10.3f}{:e}{:g}{:%}'.format(3.14159, 2.5, 12345.678, 0.0001, 0.25) }}{{ '{{}}{!r}{!s}'.format('a', 'b') }}{{ '{:{}}|'.format('x', 4) }}{{ '{}'.format(none) }}",
    "percent": "{{ '%s %r %d %5d|%-5d|%05d %+d %x %.2f %5.1f %% %c' % ('a', 'b', 3, 4, 5, 6, 7, 255, 2.345, 2.25, 'z') }}{{ '%(a)s-%(b)d' % {'a': 1, 'b': 2} }}{{ '%s' % [1, 2] }}{{ '%10s|%-4s|%.2s' % ('a', 'b', 'cde') }}{{ '%e %g' % (1234.5, 1e-5) }}",
    # Globals
    "range": "{{ range(3)|list }}{{ range(1, 7, 2)|list }}{{ range(5, 0, -2)|list }}{{ range(0) }}{{ range(2, 5) }}{{ range(4)[1:3]|list }}{{ range(3)|length }}{{ 2 in range(3) }}",
    "cycler and joiner": "{% set c = cycler('a', 'b') %}{% set j = joiner('; ') %}{% for i in xs %}{{ j() }}{{ c.next() }}{{ c.current }}{% endfor %}",
    "generators run once": "{% set g = xs|map('string') %}{{ g|join }}{{ g|join }}{% for x in g %}x{% else %}-{% endfor %}{% set h = d|items %}{{ h|first }}{{ h|list|length }}",
    # A whole template
    "chat": "{{ bos_token }}{%- set ns = namespace(tools=false) -%}\n{%- for m in messages %}\n    {%- if m.role == 'system' and loop.first %}\n        {{- '<|system|>\\n' + m.content | trim + '\\n' }}\n    {%- elif m['tool_calls'] is defined and m.tool_calls %}\n        {%- for c in m.tool_calls %}\n            {{- '<call>' + ({'name': c.function.name, 'arguments': c.function.arguments} | tojson) + '</call>' }}\n        {%- endfor %}\n    {%- else %}\n        {{- '<|' + m.role + '|>' }}\n{{ m.content }}\n    {%- endif %}\n{%- endfor %}\n{% if add_generation_prompt %}<|assistant|>{% endif %}",
    # Failures
    "fails: attribute of undefined": "a{{ missing.x }}",
    "fails: item of undefined": "a{{ missing['x'] }}",
    "fails: undefined in sum": "{{ 'a' + missing }}",
    "fails: undefined called": "{{ missing() }}",
    "fails: undefined compared": "{{ missing < 1 }}",
    "fails: none iterated": "{% for x in nothing %}{% endfor %}",
    "fails: text plus number": "{{ 'a' + 1 }}",
    "fails: text in none": "{{ 'a' in nothing }}",
    "fails: zero": "{{ 1 // 0 }}",
    "fails: raise": "{{ raise_exception('No such role: ' ~ messages[0].role) }}",
    "fails: append": "{{ xs.append(1) }}",
    "fails: update": "{{ d.update({'x': 1}) }}",
    "fails: dunder": "{{ ''.__class__.__mro__ }}",
    "fails: unknown filter": "{{ n|nope }}",
    "fails: unknown test": "{{ n is nope }}",
    "fails: unknown filter taken": "{% if t %}{{ n|nope }}{% endif %}",
    "unknown filter guarded": "{% if not t %}{{ n|nope }}{% endif %}{{ 1 if t else n|nope }}ok",
    "fails: unpack": "{% for a, b in [[1]] %}{% endfor %}",
    "fails: range": "{{ range(100001) }}",
    "fails: json of undefined": "{{ missing|tojson }}",
    "fails: arguments": "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "fails: keyword": "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}",
    "fails: set on list": "{% set xs.a = 1 %}",
    "fails: syntax": "{% if %}",
    "fails: end missing": "{% for x in xs %}",
    "fails: brackets": "{{ (1] }}",
    "fails: length of number": "{{ 5|length }}",
    "fails: dict key": "{{ {[1]: 2} }}",
}


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


class Raised(Exception):
    pass


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    return made


def kind(error):
    if isinstance(error, Raised):
        return "raised by the template"
    if isinstance(error, jinja2.TemplateAssertionError) or "No filter named" in str(error) or "No test named" in str(error):
        return "unknown filter" if "filter" in str(error) else "unknown test"
    if isinstance(error, jinja2.TemplateSyntaxError):
        return "syntax"
    if isinstance(error, jinja2.exceptions.SecurityError):
        return "security"
    if isinstance(error, jinja2.UndefinedError):
        return "undefined"
    if isinstance(error, (ValueError, ZeroDivisionError)):
        return "value"
    if isinstance(error, OverflowError):
        return "limit"
    return "type"


def main():
    cases = []
    for name, source in CASES.items():
        case = {"name": name, "template": source}
        try:
            case["text"] = environment().from_string(source).render(**VARIABLES, add_generation_prompt=True)
        except Exception as error:
            case["error"] = kind(error)
        if name.startswith("fails") != ("error" in case):
            raise SystemExit(f"{name}: {case}")
        cases.append(case)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Golden", "chat-templates.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"variables": VARIABLES, "cases": cases}, file, ensure_ascii=False, indent=1)
        file.write("\n")
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main()
