#!/usr/bin/env python3
"""Compare two training runs step by step:   python compare_losses.py peft.json ours.json [tolerance 0.001]"""

import json
import sys


def main():
    theirs, ours = (json.load(open(path)) for path in sys.argv[1:3])
    tolerance = float(sys.argv[3]) if len(sys.argv) > 3 else 1e-3
    if len(theirs["losses"]) != len(ours["losses"]) or not ours["losses"]:
        sys.exit(f"{len(theirs['losses'])} losses against {len(ours['losses'])}")
    print(f"{theirs['method']}\n| step | PEFT | Incipit | difference |\n| ---: | ---: | ---: | ---: |")
    for step, (a, b) in enumerate(zip(theirs["losses"], ours["losses"]), 1):
        print(f"| {step} | {a:.6f} | {b:.6f} | {b - a:+.6f} |")
    worst = max(abs(a - b) for a, b in zip(theirs["losses"], ours["losses"]))
    moved = abs(theirs["losses"][0] - theirs["losses"][-1])
    passed = worst <= tolerance
    print(f"{'pass' if passed else 'FAIL'}  largest difference {worst:.6f}, allowed {tolerance}; the loss moved by {moved:.3f}")
    sys.exit(not passed)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main()
