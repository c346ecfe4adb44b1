"""What the benchmarks share: sequences of natural lengths, timing in turns, tables, and results as JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import seqtrain_data
from seqtrain.alphabet import PROTEIN
from seqtrain.io.fasta import read_fasta

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Case:
    """One way of doing something, and what it is compared with."""

    name: str
    run: Callable[[], Any]
    letters: int
    """Letters (residues, bases or codons) that one run does."""
    peer: str = ""
    """The case whose time per letter this one's is compared with."""
    goal: float | None = None
    """Times faster than the peer."""


def natural_proteins(count: int) -> list[str]:
    """Strings with log-normal lengths (median 300, 30 to 2,000) and the composition of the shipped sample."""
    draws = np.random.default_rng(7)
    sample = b"".join(record.sequence for record in read_fasta(seqtrain_data.sample_path("chloroplast_proteins.fasta")))
    counts = np.array([sample.count(residue.encode()) for residue in PROTEIN.standard])
    lengths = np.clip(draws.lognormal(5.7, 0.7, count), 30, 2000).astype(int)
    letters = draws.choice(PROTEIN.standard_letters, int(lengths.sum()), p=counts / counts.sum())
    return [part.tobytes().decode() for part in np.split(letters, np.cumsum(lengths)[:-1])]


def time_in_turns(cases: Sequence[Case], rounds: int) -> dict[str, Any]:
    """Median nanoseconds per letter of every case, the order turning each round, and ratios to the peers."""
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    for turn in range(rounds + 1):
        for case in cases if turn % 2 else reversed(cases):
            start = time.perf_counter()
            case.run()
            if turn:  # the first turn only warms up
                seconds[case.name].append(time.perf_counter() - start)
    per_letter = {case.name: statistics.median(seconds[case.name]) / case.letters for case in cases}
    results = {}
    for case in cases:
        result: dict[str, Any] = {
            "letters": case.letters,
            "nanoseconds_per_letter": round(per_letter[case.name] * 1e9, 3),
            "megaletters_per_second": round(1e-6 / per_letter[case.name], 2),
        }
        if case.peer:
            ratio = per_letter[case.peer] / per_letter[case.name]
            result |= {"peer": case.peer, "times_faster_than_peer": float(f"{ratio:.3g}")}
            if case.goal is not None:
                result |= {"goal": case.goal, "reached": ratio >= case.goal}
        results[case.name] = result
    return results


def print_table(results: dict[str, Any]) -> None:
    """What :func:`time_in_turns` gives, for reading."""
    print(f"{'':<52}{'ns per letter':>14}{'M letters/s':>13}{'times the peer':>16}{'goal':>8}")
    for name, result in results.items():
        ratio, goal = result.get("times_faster_than_peer", ""), result.get("goal", "")
        missed = "" if result.get("reached", True) else "  missed"
        speed = result["megaletters_per_second"]
        print(f"{name:<52}{result['nanoseconds_per_letter']:>14}{speed:>13}{ratio:>16}{goal:>8}{missed}")


def write_report(name: str, benchmark: str, *, packages: Sequence[str], **facts: Any) -> None:
    """``results/NAME.json`` with the machine, the commit, the date, the command and the versions of packages."""
    report = {
        "benchmark": benchmark,
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_arguments()]),
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        **facts,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=2) + "\n")


def _arguments() -> list[str]:
    """The arguments of the command; where data lie on this machine is nobody's business."""
    hidden = [word if not Path(word).is_absolute() else "PATH" for word in sys.argv[1:]]
    return ["FOLDER" if before == "--data" else word for before, word in zip(["", *hidden], hidden, strict=False)]


def processor() -> str:
    """Model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    """The commit that is checked out, with a + if files differ from it."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--abbrev=10"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
