#!/usr/bin/env python3
"""Judge our logits against the F32 reference and llama.cpp's.

    python compare_logits.py ids.json reference.f32 llama_cpp.f32 ours.f32

Prints, per engine, the mean KL divergence from the reference in nat, the share of positions whose best token is the
reference's, and the largest difference of a log-probability among the reference's ten best tokens. Passes when
  KL(reference || ours) <= KL(reference || llama.cpp),
  KL(llama.cpp || ours) <= 0.02 nat,
  top-1 agreement of ours >= llama.cpp's less one percentage point.
"""

import json
import sys

import numpy as np


def log_softmax(rows):
    rows = rows.astype(np.float64)
    rows -= rows.max(axis=-1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(axis=-1, keepdims=True))


def load(path, positions):
    values = np.fromfile(path, dtype="<f4")
    if values.size % positions:
        sys.exit(f"{path}: {values.size} values do not divide into {positions} positions")
    if not np.isfinite(values).all():
        sys.exit(f"{path}: holds infinities or not-a-number")
    return log_softmax(values.reshape(positions, -1))


def divergence(p, q):
    """Mean over positions of KL(p || q), both given as log-probabilities."""
    return float((np.exp(p) * (p - q)).sum(axis=-1).mean())


def main():
    ids_path, reference_path, peer_path, ours_path = sys.argv[1:5]
    positions = sum(len(ids) for ids in json.load(open(ids_path)))
    reference, peer, ours = (load(path, positions) for path in (reference_path, peer_path, ours_path))
    best = reference.argmax(axis=-1)
    top = np.argsort(-reference, axis=-1)[:, :10]

    def row(name, logs):
        agreement = float((logs.argmax(axis=-1) == best).mean())
        kl = divergence(reference, logs)
        worst = float(np.abs(np.take_along_axis(logs - reference, top, axis=-1)).max())
        print(f"| {name:<9} | {kl:26.6f} | {100 * agreement:16.2f} % | {worst:31.4f} |")
        return kl, agreement

    print(f"{positions} positions, vocabulary of {reference.shape[1]}\n")
    print("| engine    | mean KL(reference ‖ engine) | top-1 agreement | worst log-prob., best ten tokens |")
    print("| ---       | ---:                        | ---:            | ---:                             |")
    peer_kl, peer_agreement = row("llama.cpp", peer)
    our_kl, our_agreement = row("Incipit", ours)
    between = divergence(peer, ours)
    print(f"\nmean KL(llama.cpp ‖ Incipit) = {between:.6f} nat\n")
    verdicts = [
        (our_kl <= peer_kl, f"KL from the reference {our_kl:.6f}, llama.cpp's {peer_kl:.6f}"),
        (between <= 0.02, f"KL from llama.cpp {between:.6f}, allowed 0.02"),
        (our_agreement >= peer_agreement - 0.01,
         f"top-1 agreement {100 * our_agreement:.2f} %, llama.cpp's {100 * peer_agreement:.2f} % less one point"),
    ]
    for passed, text in verdicts:
        print("pass " if passed else "FAIL ", text)
    sys.exit(not all(passed for passed, _ in verdicts))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main()
