"""Run commands in turn and compare medians: machines drift, so only runs that alternate in one sitting compare."""

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


def alternate(*commands, rounds):
    """A list of reports for each command; the order turns round from round to round."""
    reports = [[] for _ in commands]
    for turn in range(rounds):
        order = list(enumerate(commands))
        for number, command in order if turn % 2 == 0 else reversed(order):
            reports[number].append(run(command))
            name = os.path.basename(command[0])
            print(f"  round {turn + 1}/{rounds} {name}: {json.dumps(summary(reports[number][-1]))}", file=sys.stderr,
                  flush=True)
    return reports


def summary(report):
    return {key: value for key, value in report.items() if key.endswith(("PerSecond", "Megabytes"))}


def median(reports, key):
    return statistics.median(float(report[key]) for report in reports)


def load_average():
    return os.getloadavg()[0]
