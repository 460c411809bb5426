#!/usr/bin/env python3
"""Random JSON schemas against jsonschema:   python random_schemas.py INCIPIT [--schemas 500] [--seed 1]

For each schema, JSON texts that are instances in the form the grammar writes (members in the order of `properties`, none
besides), and mutations of them. `incipit grammar --json-schema … --match` must accept the instances, and nothing that Python's
json and jsonschema refuse. Schemas that a grammar cannot express must be refused with a sentence; they are counted.
"""

import argparse
import json
import random
import subprocess
import sys
import uuid

import jsonschema

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("incipit")
parser.add_argument("--schemas", type=int, default=500)
parser.add_argument("--seed", type=int, default=1)
arguments = parser.parse_args()
rng = random.Random(arguments.seed)
CHECKER = jsonschema.FormatChecker()
LETTERS = "abcXYZ 019_-.,:{}[]\"\\/\n\té中😀\u0001"


def valid(schema, text):
    try:
        value = json.loads(text, parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name)))
        jsonschema.Draft202012Validator(schema, format_checker=CHECKER).validate(value)
        return True
    except (ValueError, RecursionError, jsonschema.ValidationError):
        return False


def word(low=0, high=8):
    return "".join(rng.choice(LETTERS) for _ in range(rng.randint(low, high)))


def text(value):
    # As the grammar spells strings: characters beyond ASCII as themselves.
    return json.dumps(value, ensure_ascii=False, separators=rng.choice(((",", ":"), (", ", ": "))))


PATTERNS = {
    "^[a-c]{2,4}$": lambda: "".join(rng.choice("abc") for _ in range(rng.randint(2, 4))),
    "^(x|yz)+-[0-9]?$": lambda: "".join(rng.choice(("x", "yz")) for _ in range(rng.randint(1, 3))) + "-" + rng.choice(("", "7")),
    "q+": lambda: word(0, 3) + "q" * rng.randint(1, 3) + word(0, 3),
    r"^\d{3}-\w+$": lambda: f"{rng.randrange(1000):03}-" + rng.choice(("a", "Z_9")),
    r"^[^\s\"]*\.$": lambda: rng.choice(("", "ab", "é")) + ".",
}
FORMATS = {
    "date": lambda: f"{rng.randint(1000, 2999)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
    "uuid": lambda: str(uuid.UUID(int=rng.getrandbits(128))),
    "ipv4": lambda: ".".join(str(rng.randrange(256)) for _ in range(4)),
}


def scalar():
    """A schema without parts, and a maker of its values."""
    kind = rng.randrange(12)
    if kind == 0:
        values = [rng.choice((word(), rng.randint(-99, 99), None, True, ["a"], {})) for _ in range(rng.randint(1, 4))]
        return {"enum": values}, lambda: rng.choice(values)
    if kind == 1:
        value = rng.choice((word(), 5, False, None, ["x"]))
        return {"const": value}, lambda: value
    if kind in (2, 3):
        low = rng.choice((-10 ** rng.randint(0, 9), rng.randint(-500, 500), 0))
        high = low + rng.choice((0, 1, 9, rng.randint(0, 10 ** rng.randint(1, 9))))
        schema = {"type": "integer"}
        exclusive = rng.random() < 0.2 and high - low > 1
        if rng.random() < 0.7:
            schema["exclusiveMinimum" if exclusive else "minimum"] = low
        if rng.random() < 0.7:
            schema["exclusiveMaximum" if exclusive else "maximum"] = high
        edge = int(exclusive)
        return schema, lambda: rng.choice((low + edge, high - edge, rng.randint(low + edge, high - edge)))
    if kind == 4:
        return {"type": "number"}, lambda: rng.choice((0, -1.5, 3e10, round(rng.uniform(-5, 5), 12), 12345678, 1e-7))
    if kind == 5:
        low, high = sorted(rng.randint(-20, 20) for _ in range(2))
        return {"type": "number", "minimum": low, "maximum": high + 1}, lambda: round(rng.uniform(low, high + 1), rng.randint(0, 6))
    if kind == 6:
        return {"type": rng.choice(("boolean", ["boolean", "null"]))}, lambda: rng.random() < 0.5
    if kind == 7:
        low = rng.randint(0, 4)
        high = low + rng.randint(0, 5)
        schema = {"type": "string", "minLength": low}
        if rng.random() < 0.7:
            schema["maxLength"] = high
        return schema, lambda: word(low, high)
    if kind == 8:
        pattern = rng.choice(list(PATTERNS))
        return {"type": "string", "pattern": pattern}, PATTERNS[pattern]
    if kind == 9:
        name = rng.choice(list(FORMATS))
        return {"type": "string", "format": name}, FORMATS[name]
    return {"type": "string"}, word


def schema(depth, definitions):
    kind = rng.random()
    if depth == 0 or kind < 0.25:
        return scalar()
    if kind < 0.6:
        names = rng.sample(["a", "ab", "b", "name", "x y", "é", "q\"", "id"], rng.randint(0, 4))
        parts = {name: schema(depth - 1, definitions) for name in names}
        required = [name for name in names if rng.random() < 0.5]
        made = {"type": "object", "properties": {n: p[0] for n, p in parts.items()}, "required": required}
        extra = rng.choice((None, False, "open")) if names else "open"
        other = schema(depth - 1, definitions) if extra == "open" else None
        if extra is False:
            made["additionalProperties"] = False
        elif other:
            made["additionalProperties"] = other[0]

        def members():
            chosen = {n: parts[n][1]() for n in names if n in required or rng.random() < 0.6}
            if other:
                for key in rng.sample(["zz", "abc", "nam", "", "\"", "idd"], rng.randint(0, 2)):
                    chosen[key] = other[1]()
            return chosen

        return made, members
    if kind < 0.8:
        part, make = schema(depth - 1, definitions)
        low = rng.randint(0, 3)
        high = low + rng.randint(0, 3)
        made = {"type": "array", "items": part, "minItems": low}
        if rng.random() < 0.7:
            made["maxItems"] = high
        leading = [schema(depth - 1, definitions) for _ in range(rng.choice((0, 0, 1, 2)))]
        if leading:
            made["prefixItems"] = [p[0] for p in leading]
        low, high = max(low, len(leading)), max(high, len(leading))
        if "maxItems" in made:
            made["maxItems"] = high
        return made, lambda: [p[1]() for p in leading] + [make() for _ in range(rng.randint(low, high) - len(leading))]
    if kind < 0.9:
        parts = [schema(depth - 1, definitions) for _ in range(rng.randint(1, 3))]
        return {"anyOf": [p[0] for p in parts]}, lambda: rng.choice(parts)[1]()
    if kind < 0.95:
        part, make = schema(depth - 1, definitions)
        name = f"d{len(definitions)}"
        definitions[name] = part
        return {"$ref": f"#/$defs/{name}"}, make
    low = rng.randint(-50, 50)
    return {"allOf": [{"type": "integer", "minimum": low}, {"maximum": low + 30}]}, lambda: rng.randint(low, low + 30)


def mutated(string):
    letters = list(string)
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(letters) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            letters.insert(at, rng.choice("0123456789-.eE\"{}[],: \\nabqx"))
        elif letters and kind == 1:
            del letters[at % len(letters)]
        elif letters and kind == 2:
            letters[at % len(letters)] = rng.choice("0123456789-.\"{}[],:\\aéq")
        else:
            other = rng.randrange(len(letters) + 1)
            letters[at:at] = letters[min(at, other):max(at, other)]
    return "".join(letters)


refused = accepted = judged = 0
failures = []
for number in range(arguments.schemas):
    definitions = {}
    made, make = schema(3, definitions)
    if definitions:
        made = {**made, "$defs": definitions}
    instances = [text(make()) for _ in range(12)]
    # A constant or a number may be an instance of another type's choice, a key equal to another: what is no instance is left out.
    instances = [t for t in instances if valid(made, t)]
    others = [mutated(t) for t in instances for _ in range(6)]
    lines = "".join(json.dumps(t) + "\n" for t in instances + others)
    run = subprocess.run([arguments.incipit, "grammar", "--json-schema", json.dumps(made), "--match", "-", "--json-lines"],
                         input=lines, capture_output=True, text=True)
    if run.returncode:
        refused += 1
        if not run.stderr.startswith("error: --json-schema: ") or "Traceback" in run.stderr:
            failures.append(f"{json.dumps(made)}: {run.stderr.strip()}")
        continue
    verdicts = [line == "yes" for line in run.stdout.split()]
    judged += len(verdicts)
    for index, (string, verdict) in enumerate(zip(instances + others, verdicts)):
        accepted += verdict
        if index < len(instances) and not verdict:
            failures.append(f"refused: {string!r} of {json.dumps(made)}")
        if index >= len(instances) and verdict and not valid(made, string):
            failures.append(f"accepted: {string!r} of {json.dumps(made)}")
print(f"{arguments.schemas} schemas, {refused} of them refused, {judged} texts, {accepted} accepted, {len(failures)} wrong")
for failure in sorted(failures, key=len)[:20]:
    print("FAIL", failure)
sys.exit(bool(failures))
