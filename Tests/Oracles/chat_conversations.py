"""Conversations for comparing chat templates: what real requests contain, in many combinations.

Each case is a dict with `name`, `messages`, and possibly `tools`, `documents`, `extra`.
"""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather for a place.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "City and country, \"quoted\""},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "integer", "minimum": 1},
            },
            "required": ["place"],
        },
        "return": {"type": "object", "properties": {"degrees": {"type": "number"}}},
    },
}
SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Search <documents> & more.\nSecond line — with é and 日本.",
        "parameters": {
            "type": "object",
            "properties": {
                "query": {"type": ["string", "null"], "description": "What to look for"},
                "limits": {"type": "array", "items": {"type": "number"}},
                "options": {
                    "type": "object",
                    "properties": {"exact": {"type": "boolean"}, "inner": {"type": "object", "properties": {}}},
                    "required": ["exact"],
                },
                "any": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            },
            "required": ["query", "options"],
        },
    },
}
TOOLS = [WEATHER, SEARCH]
BARE = [{"type": "function", "function": {"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}}}]
DOCUMENTS = [
    {"title": "Otters", "text": "Otters hold hands while they sleep.", "doc_id": 1},
    {"title": "Tides", "text": "Two high tides a day.\nMostly."},
]


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def call(name, arguments, identifier="abcdefg12"):
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


ROUND = [
    user("What is the weather in Zürich?"),
    assistant("", tool_calls=[call("get_weather", {"place": "Zürich", "days": 2, "exact": True})]),
    {"role": "tool", "tool_call_id": "abcdefg12", "name": "get_weather", "content": '{"degrees": 21.5}'},
]

CASES = [
    {"name": "one question", "messages": [user("Hello, who are you?")]},
    {"name": "system", "messages": [system("You are terse."), user("Hello!")]},
    {"name": "turns", "messages": [user("Hi"), assistant("Hello."), user("And?"), assistant("Well."), user("Bye")]},
    {"name": "system and turns", "messages": [system("Be kind.\n"), user("  Hi  "), assistant("\nHello.\n"), user("More\n\n")]},
    {"name": "ends with an answer", "messages": [user("Hi"), assistant("Hello there.")]},
    {"name": "odd text", "messages": [user("<|im_start|>x {{ y }} {% z %} \"quotes\" 'single' <b>&amp;</b> \\n \t é 日本 🦦"), assistant("ok"), user("x" * 300)]},
    {"name": "thinking inside", "messages": [user("2+2?"), assistant("<think>\nTwo and two.\n</think>\n\nFour."), user("3+3?")]},
    {"name": "reasoning field", "messages": [user("2+2?"), assistant("Four.", reasoning_content="Two and two."), user("3+3?")]},
    {"name": "thinking off", "messages": [system("Be brief."), user("2+2?")], "extra": {"enable_thinking": False, "thinking": False}},
    {"name": "thinking on", "messages": [user("2+2?")], "extra": {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"}},
    {"name": "parts", "messages": [{"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]}]},
    {"name": "image", "messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}]},
    {"name": "parts everywhere", "messages": [{"role": "system", "content": [{"type": "text", "text": "Be kind."}]}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]}, user("x")]},
    {"name": "tools", "messages": [user("What is the weather?")], "tools": TOOLS},
    {"name": "tools and system", "messages": [system("Use tools."), user("What is the weather?")], "tools": TOOLS},
    {"name": "bare tool", "messages": [user("What time is it?")], "tools": BARE},
    {"name": "no tools at all", "messages": [user("What time is it?")], "tools": []},
    {"name": "tool round", "messages": ROUND, "tools": TOOLS},
    {"name": "tool round and answer", "messages": [system("Use tools.")] + ROUND + [assistant("21.5 degrees."), user("Thanks")], "tools": TOOLS},
    {"name": "tool round without tools", "messages": ROUND},
    {"name": "call without content", "messages": [user("Time?"), {"role": "assistant", "content": None, "tool_calls": [call("now", {})]}, {"role": "tool", "tool_call_id": "abcdefg12", "content": "noon"}], "tools": BARE},
    {"name": "call without content key", "messages": [user("Time?"), {"role": "assistant", "tool_calls": [call("now", {})]}, {"role": "tool", "tool_call_id": "abcdefg12", "content": "noon"}], "tools": BARE},
    {"name": "arguments as text", "messages": [user("Time?"), assistant("", tool_calls=[call("now", '{"zone": "CET"}')]), {"role": "tool", "tool_call_id": "abcdefg12", "content": "noon"}], "tools": BARE},
    {"name": "two calls", "messages": [user("Both?"), assistant("Sure.", tool_calls=[call("get_weather", {"place": "Bern"}, "aaaaaaaa1"), call("search", {"query": None, "options": {"exact": False, "n": [1, 2.5, 1e20]}}, "bbbbbbbb2")]), {"role": "tool", "tool_call_id": "aaaaaaaa1", "name": "get_weather", "content": "1"}, {"role": "tool", "tool_call_id": "bbbbbbbb2", "name": "search", "content": [{"type": "text", "text": "2"}]}, assistant("Done.")], "tools": TOOLS},
    {"name": "calls with reasoning", "messages": [user("Time?"), assistant("", reasoning_content="I need the clock.", tool_calls=[call("now", {"a": "x\ny", "b": [], "c": {}})]), {"role": "tool", "tool_call_id": "abcdefg12", "name": "now", "content": {"time": "noon"}}], "tools": BARE},
    {"name": "documents", "messages": [user("What do otters do?")], "documents": DOCUMENTS},
    {"name": "documents and system", "messages": [system("Cite."), user("Tides?")], "documents": DOCUMENTS, "extra": {"citation_mode": "accurate"}},
    {"name": "documents and tools", "messages": [user("Tides?")], "documents": DOCUMENTS, "tools": TOOLS},
    {"name": "developer", "messages": [{"role": "developer", "content": "Be kind."}, user("Hi")]},
    {"name": "no messages", "messages": []},
    {"name": "only system", "messages": [system("Alone.")]},
    {"name": "two users", "messages": [user("One."), user("Two.")]},
    {"name": "unknown role", "messages": [user("One."), {"role": "narrator", "content": "Two."}]},
    {"name": "long", "messages": [system("S")] + [m for n in range(20) for m in (user(f"Question {n}"), assistant(f"Answer {n}"))] + [user("End")], "tools": BARE},
]
