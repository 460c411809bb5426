#!/usr/bin/env python3
"""Compare rendered chat templates with transformers and jinja2, on the templates that llama.cpp ships.

    python chat_templates.py RENDERER [TEMPLATE…]

RENDERER is a command that reads requests, one JSON object a line, and writes answers the same way: `incipit template
--batch`. The templates come out of the source package of llama-cpp-python, fetched with pip into the cache; they are not
part of this project. Every template is rendered with every conversation of chat_conversations.py, with and without the
beginning of an answer. Where transformers raises an error, so must we. Needs jinja2 and transformers.
"""

import argparse
import collections
import glob
import json
import os
import shlex
import subprocess
import sys

from transformers.utils.chat_template_utils import render_jinja_template

from chat_conversations import CASES

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def templates():
    """The templates of llama.cpp, fetched once."""
    fetch = os.path.join(os.path.dirname(os.path.abspath(__file__)), "llama_cpp_source.sh")
    done = subprocess.run([fetch], check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "INCIPIT_PYTHON": sys.executable})
    return sorted(glob.glob(os.path.join(done.stdout.strip(), "models", "templates", "*.jinja")))


def expected(source, case, generation_prompt):
    """What transformers renders: (text, None) or (None, error)."""
    try:
        texts, _ = render_jinja_template(
            [case["messages"]], tools=case.get("tools"), documents=case.get("documents"), chat_template=source,
            add_generation_prompt=generation_prompt, **TOKENS, **case.get("extra", {}))
        return texts[0], None
    except Exception as error:  # whatever Python raises, the template failed
        return None, f"{type(error).__name__}: {error}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("renderer")
    parser.add_argument("templates", nargs="*")
    parser.add_argument("--verbose", action="store_true", help="print errors that both sides raise")
    options = parser.parse_args()
    files = options.templates or templates()
    requests, wanted = [], []
    for path in files:
        with open(path, encoding="utf-8") as file:
            source = file.read()
        for case in CASES:
            for generation_prompt in (False, True):
                requests.append({
                    "template": source, "messages": case["messages"], "tools": case.get("tools"),
                    "documents": case.get("documents"), "extra": {**TOKENS, **case.get("extra", {})},
                    "add_generation_prompt": generation_prompt})
                label = f"{os.path.basename(path)} / {case['name']} / {'prompt' if generation_prompt else 'no prompt'}"
                wanted.append((label, *expected(source, case, generation_prompt)))
    lines = "".join(json.dumps(request, ensure_ascii=False) + "\n" for request in requests)
    done = subprocess.run(
        shlex.split(options.renderer), input=lines, capture_output=True, encoding="utf-8", errors="surrogatepass")
    answers = [json.loads(line) for line in done.stdout.split("\n") if line]
    if done.returncode or len(answers) != len(requests):
        sys.exit(f"the renderer ended with {done.returncode} after {len(answers)} of {len(requests)}: {done.stderr}")
    counts = collections.Counter()
    for (label, text, error), answer in zip(wanted, answers):
        # What a template raises itself has to arrive word for word.
        raised = error.removeprefix("TemplateError: ") if error and error.startswith("TemplateError: ") else ""
        if error is not None and answer.get("error", "").startswith(raised) and "error" in answer:
            counts["equal errors"] += 1
            if options.verbose:
                print(f"both fail: {label}\n  theirs: {error}\n  ours:   {answer['error']}")
        elif error is None and answer.get("text") == text:
            counts["equal texts"] += 1
        else:
            counts["DIFFERENT"] += 1
            if counts["DIFFERENT"] <= 20:
                print(f"DIFFERENT: {label}\n  theirs: {error or text!r}\n  ours:   {answer.get('error') or answer.get('text')!r}")
    print(f"{len(files)} templates, {len(CASES)} conversations: " + ", ".join(f"{n} {k}" for k, n in sorted(counts.items())))
    sys.exit(1 if counts["DIFFERENT"] else 0)


if __name__ == "__main__":
    main()
