"""Seconds and peak memory of ``seqtrain predict`` and ``seqtrain embed`` on the longest proteins of two files.

    python benchmarks/benchmark_long_proteins.py --data FOLDER

FOLDER holds ``proteinbert_neuropeptide.csv.gz``, whose longest protein has 5,128 residues, and
``unlabeled_train.fasta.gz``, whose longest has 35,213. The models are of the ESM-2 8M shape, finetuned by this script
for two steps on made-up labels: only time and memory are looked at. Each case is a process of its own. By default long
proteins are read in windows of 1,022 residues; "whole" reads one in a single piece.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import natural_proteins, write_report

from seqtrain.io.inputs import read_input

FILES = {"neuropeptide precursors": "proteinbert_neuropeptide.csv.gz", "corpus": "unlabeled_train.fasta.gz"}
GOAL_GIBIBYTES = 8
COMMAND = [sys.executable, "-c", "from seqtrain_cli.main import main; main()"]


def longest(path: Path) -> str:
    """The longest sequence of a FASTA or table."""
    return max((record.sequence for record in read_input(path).records), key=len).decode()


def measured(*arguments: object) -> dict[str, Any]:
    """Seconds and peak resident memory of a command."""
    started = time.perf_counter()
    process = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    message = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, message
    gibibytes = usage.ru_maxrss / 2**20
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_gibibytes": round(gibibytes, 2),
        "goal_gibibytes": GOAL_GIBIBYTES,
        "reached": gibibytes < GOAL_GIBIBYTES,
    }


def make_runs(folder: Path, size: str) -> dict[str, Path]:
    """A run that predicts a class per sequence and one that predicts a class per residue."""
    draws = np.random.default_rng(0)
    short = [text[:40] for text in natural_proteins(16)]
    labels = {
        "sequence": ["ab"[number % 2] for number in range(16)],
        "residue": ["".join(draws.choice(list("HEC"), len(text))) for text in short],
    }
    runs = {}
    for kind, column in labels.items():
        table, runs[kind] = folder / f"{kind}.csv", folder / f"{kind}-run"
        rows = [f"p{i},{text},{label}" for i, (text, label) in enumerate(zip(short, column, strict=True))]
        table.write_text("\n".join(["id,sequence,label", *rows, ""]))
        measured("finetune", table, "-o", runs[kind], "--size", size, "--steps", 2, "--device", "cpu")
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the two files")
    parser.add_argument("--size", default="8M")
    options = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = make_runs(folder, options.size)
        for source, file in FILES.items():
            text = longest(options.data / file)
            protein = folder / "protein.fasta"
            protein.write_text(f">long\n{text}\n")
            cases: dict[str, tuple[object, ...]] = {
                "predict, per sequence": ("predict", runs["sequence"], protein, "-o", folder / "x.csv"),
                "predict, per residue": ("predict", runs["residue"], protein, "-o", folder / "x.csv"),
                "embed, per sequence": ("embed", runs["sequence"], protein, "-o", folder / "x.npz"),
                "embed, per residue": ("embed", runs["sequence"], protein, "-o", folder / "x.h5", "--per-residue"),
            }
            if len(text) < 10_000:
                cases["embed, per residue, whole"] = (*cases["embed, per residue"], "--max-length", 10_000)
            for case, arguments in cases.items():
                key = f"{len(text):,} residues ({source}): {case}"
                results[key] = measured(*arguments, "--device", "cpu")
                print(key, results[key], flush=True)
    write_report(
        "long_proteins",
        f"predict and embed on the longest proteins, ESM-2 {options.size} shape",
        packages=("torch", "numpy"),
        results=results,
    )


if __name__ == "__main__":
    main()
