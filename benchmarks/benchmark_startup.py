"""Seconds until a command answers, against those of importing torch; each in a fresh process, in turns.

Run from the root of the repository::

    python benchmarks/benchmark_startup.py

The first step is that of ``seqtrain pretrain`` on a store that an earlier start has prepared, the first scoring of the
held-out records included. Of what it takes beyond importing torch, most is torch's compiler, which torch's own
optimisers import when one is built. Processor seconds stand beside those of the wall, since other processes slow the
wall only.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from timing import write_report

import seqtrain_data

HELP_GOAL, BEYOND_TORCH_GOAL = 0.3, 2.0
"""Seconds."""
COMMAND = [sys.executable, "-c", "from seqtrain_cli.main import main; main()"]
IMPORT_TORCH = [sys.executable, "-c", "import torch"]


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a process.

    Raises:
        RuntimeError: the command failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"})
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def until_first_step(folder: Path) -> tuple[float, float]:
    """Wall and processor seconds of a pretraining up to its first update, in the same run directory each time.

    Raises:
        RuntimeError: the command failed.
    """
    sample = seqtrain_data.sample_path("chloroplast_proteins.fasta")
    script = FIRST_STEP.format(folder=str(folder), sample=str(sample))
    return timed([sys.executable, "-c", script])


FIRST_STEP = """
import os
from seqtrain.config import PretrainConfig
from seqtrain.fitting import Silent
from seqtrain.recipes import pretrain

class FirstStep(Silent):
    def step_done(self, report, num_steps):
        os._exit(0)

config = PretrainConfig(
    inputs=({sample!r},), output={folder!r}, size="1M", steps=2, num_evaluations=1, device="cpu"
)
pretrain.pretrain(config, FirstStep())
raise SystemExit("no step was made")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    taken: dict[str, list[tuple[float, float]]] = {"help": [], "import torch": [], "first step": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        until_first_step(folder)  # writes the store, and brings all files into memory
        for _ in range(options.rounds):
            taken["help"].append(timed([*COMMAND, "--help"]))
            taken["import torch"].append(timed(IMPORT_TORCH))
            taken["first step"].append(until_first_step(folder))
    facts: dict[str, Any] = {}
    for index, unit in enumerate(("seconds", "processor_seconds")):
        facts[unit] = {name: round(median(row[index] for row in rows), 3) for name, rows in taken.items()}
        facts[f"{unit}_beyond_torch"] = round(facts[unit]["first step"] - facts[unit]["import torch"], 3)
    facts["goals"] = {"help": HELP_GOAL, "first step beyond torch": BEYOND_TORCH_GOAL}
    facts["reached"] = {
        "help": facts["seconds"]["help"] < HELP_GOAL,
        "first step beyond torch": facts["seconds_beyond_torch"] < BEYOND_TORCH_GOAL,
    }
    for name, value in facts.items():
        print(f"{name:<30}{value}")
    write_report("startup", "start-up of the commands", packages=("seqtrain", "torch"), rounds=options.rounds, **facts)


if __name__ == "__main__":
    main()
