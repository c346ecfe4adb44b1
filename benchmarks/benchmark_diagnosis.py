"""Does --debug name planted faults, and is it silent on healthy trainings? The cases of the tests, with many seeds.

Eleven kinds of healthy trainings (regression, classes, imbalanced classes, several labels, labels of residues, two
convolutional networks, masked letters and spans, from a pretraining, low-rank adapters) and ten planted faults, each
with other data and other weights for every seed. A fault is named if the check that is for it warns, whatever else
warns. A false alarm is any warning on a healthy training.

    python benchmarks/benchmark_diagnosis.py [--seeds 20] [--processes 2] [--only NAME …]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import sys
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from timing import write_report

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.diagnosis.cases import FAULTS, HEALTHY, warned

FIRST_SEED = 100


def checked(cell: tuple[str, int]) -> set[str]:
    """The checks that warn of one training, given the name of its case and a seed."""
    name, seed = cell
    warnings.simplefilter("ignore")
    found = HEALTHY[name] if name in HEALTHY else FAULTS[name][1]
    with tempfile.TemporaryDirectory() as folder:
        return warned(found(Path(folder), seed))


def main() -> None:
    """Run all cases and write results/diagnosis.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="Names of cases; nothing is written.")
    options = parser.parse_args()
    names = [name for name in (*HEALTHY, *FAULTS) if not options.only or name in options.only]
    cells = [(name, FIRST_SEED + seed) for name in names for seed in range(options.seeds)]
    by_name: dict[str, list[set[str]]] = {name: [] for name in names}
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        for (name, _), checks in zip(cells, pool.map(checked, cells), strict=True):
            by_name[name].append(checks)
            if len(by_name[name]) == options.seeds:
                print(f"{name:<36}{summary(name, by_name[name])}", flush=True)
    if options.only:
        return
    healthy = {name: summary(name, by_name[name]) for name in HEALTHY}
    faults = {name: summary(name, by_name[name]) for name in FAULTS}
    alarms, named = (
        sum(each[key] for each in cases.values()) for cases, key in ((healthy, "warned"), (faults, "named"))
    )
    alarm_rate, detection = alarms / len(HEALTHY) / options.seeds, named / len(FAULTS) / options.seeds
    print(f"false alarms in {alarm_rate:.1%} of the healthy trainings, {detection:.1%} of the faults named")
    write_report(
        "diagnosis",
        "planted faults that --debug names, and healthy trainings that it warns of",
        packages=("torch", "numpy"),
        seeds=options.seeds,
        false_alarm_rate=round(alarm_rate, 4),
        detection_rate=round(detection, 4),
        healthy=healthy,
        faults=faults,
    )


def summary(name: str, runs: list[set[str]]) -> dict[str, Any]:
    """How many runs of a case were warned of, or had their fault named, and what else warned."""
    names = set(FAULTS[name][0]) if name in FAULTS else set()
    others = dict(Counter(check for checks in runs for check in checks - names))
    if name in FAULTS:
        return {"runs": len(runs), "named": sum(bool(checks & names) for checks in runs), "also_warned": others}
    return {"runs": len(runs), "warned": sum(map(bool, runs)), "checks": others}


if __name__ == "__main__":
    main()
