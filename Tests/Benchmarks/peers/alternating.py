"""Run two commands in turn and compare medians: machines drift, so only runs that alternate in one sitting compare."""

import json
import os
import statistics
import subprocess
import sys


def run(command):
    """The JSON object that the command prints on its last line."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("{") :])


def alternate(ours, theirs, times):
    """Two lists of reports; which of the two goes first changes from round to round."""
    reports = {"ours": [], "theirs": []}
    for turn in range(times):
        order = [("ours", ours), ("theirs", theirs)]
        for name, command in order if turn % 2 == 0 else reversed(order):
            reports[name].append(run(command))
            print(f"  round {turn + 1}/{times} {name}: {json.dumps(summary(reports[name][-1]))}", file=sys.stderr, flush=True)
    return reports["ours"], reports["theirs"]


def summary(report):
    return {key: value for key, value in report.items() if key.endswith(("PerSecond", "Megabytes"))}


def median(reports, key):
    return statistics.median(float(report[key]) for report in reports)


def load_average():
    return os.getloadavg()[0]
