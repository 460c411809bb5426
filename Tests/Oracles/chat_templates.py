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
import tarfile

from transformers.utils.chat_template_utils import render_jinja_template

from chat_conversations import CASES

RELEASE = "llama-cpp-python==0.3.36"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def templates(folder):
    """The shipped templates, fetched once."""
    found = sorted(glob.glob(os.path.join(folder, "*.jinja")))
    if found:
        return found
    os.makedirs(folder, exist_ok=True)
    archive = glob.glob(os.path.join(folder, "*.tar.gz"))
    if not archive:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "llama-cpp-python"]
        subprocess.run(pip + [RELEASE, "-d", folder], check=True, stdout=sys.stderr)
        archive = glob.glob(os.path.join(folder, "*.tar.gz"))
    with tarfile.open(archive[0]) as tar:
        for member in tar:
            if "/models/templates/" in member.name and member.name.endswith(".jinja"):
                with open(os.path.join(folder, os.path.basename(member.name)), "wb") as out:
                    out.write(tar.extractfile(member).read())
    os.remove(archive[0])
    return sorted(glob.glob(os.path.join(folder, "*.jinja")))


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
    cache = os.environ.get("INCIPIT_CACHE") or os.path.expanduser("~/.cache/incipit")
    parser.add_argument("--cache", default=os.path.join(cache, "chat-templates"))
    parser.add_argument("--verbose", action="store_true", help="print errors that both sides raise")
    options = parser.parse_args()
    files = options.templates or templates(options.cache)
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
