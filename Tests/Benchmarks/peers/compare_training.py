#!/usr/bin/env python3
"""Training speed and peak memory, ours against PEFT, alternating:   Markdown rows for RESULTS.md on stdout.

    python compare_training.py --measure INCIPIT_MEASURE --model MODEL.gguf --hf HF_FOLDER --data TASK.jsonl [--rounds 3]

32 virtual tokens, batches of 16, AdamW; required: prompt tuning 5 times, prefix tuning 3 times PEFT's examples a second,
at half its memory, with the forward products that `incipit tune` takes by default (int8). Float ones run in the same
rounds for comparison.
"""

import argparse
import os
import sys
import tempfile

from alternating import alternate, load_average, median, run

HERE = os.path.dirname(os.path.abspath(__file__))
PEFT = os.path.join(HERE, "..", "..", "Oracles", "peft_losses.py")
REQUIRED = {"prompt-tuning": 5.0, "prefix-tuning": 3.0}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", required=True, help="the executable incipit-measure")
    parser.add_argument("--model", required=True, help="the GGUF that we train on")
    parser.add_argument("--hf", required=True, help="the same weights for PEFT, from hf_from_gguf.py")
    parser.add_argument("--data", required=True)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30, help="steps of ours a round")
    parser.add_argument("--peft-steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=list(REQUIRED))
    a = parser.parse_args()
    if load_average() > 0.5:
        print(f"note: load average is {load_average():.2f}; a foreign load spoils the figures", file=sys.stderr)
    print("| method | measure | PEFT | Incipit | ratio | required |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        for method in a.methods:
            init = os.path.join(folder, f"{method}.npy")
            shared = ["--method", method, "--data", a.data, "--tokens", str(a.tokens), "--batch", str(a.batch),
                      "--threads", str(a.threads), "--optimizer", "adamw", "--lr", "0.001"]
            peft = [sys.executable, PEFT, "--model", a.hf, *shared]
            run([*peft, "--steps", "1", "--make-init", init])
            def ours_with(precision):
                return [a.measure, "train", a.model, *shared, "--init", init, "--steps", str(a.steps), "--precision", precision,
                        "--json"]

            ours, theirs, floats = alternate(
                ours_with("int8"), [*peft, "--init", init, "--steps", str(a.peft_steps)], ours_with("float"),
                rounds=a.rounds)
            peer, mine = median(theirs, "examplesPerSecond"), median(ours, "examplesPerSecond")
            exact = median(floats, "examplesPerSecond")
            peer_memory, memory = median(theirs, "peakMemoryMegabytes"), median(ours, "peakMemoryMegabytes")
            passed &= mine / peer >= REQUIRED[method] and memory <= peer_memory / 2
            print(f"| {method} | examples/s | {peer:.2f} | {mine:.2f} | {mine / peer:.2f} | {REQUIRED[method]:.1f} |")
            print(f"| {method}, float products | examples/s | {peer:.2f} | {exact:.2f} | {exact / peer:.2f} | |")
            print(f"| {method} | peak memory, MB | {peer_memory:.0f} | {memory:.0f} | {memory / peer_memory:.2f} | 0.50 |",
                  flush=True)
    print(f"\nMedians of {a.rounds} alternating rounds; {a.tokens} virtual tokens, batch {a.batch}, {a.threads} threads. "
          f"{'pass' if passed else 'FAIL'}")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
