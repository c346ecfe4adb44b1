"""Which optimiser and schedule lowers the masked-LM loss most within a fixed budget of residues?

A transformer of 0.3 M parameters is pretrained from scratch on 400,000 residues of real proteins and scored on held-out
ones, with everything but the optimiser, its peak rate and the schedule as ``seqtrain pretrain`` has it. Rates are tried
around what suits each optimiser and all of them are shown; the schedules run with the best rate of warm-up and cosine.
What was trained is kept in the result file: a run that is started again goes on with the missing cells.

    python benchmarks/benchmark_optimizers.py --data FOLDER [--seeds 3] [--full] [--minutes 60]
    python benchmarks/benchmark_optimizers.py --data FOLDER --only adamw=1e-3 muon=1e-3 adamw=5e-4
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import gzip
import json
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from timing import RESULTS, write_report

RATES: dict[str, tuple[float, ...]] = {
    "adamw": (5e-4, 1e-3, 2e-3, 4e-3),
    "muon": (5e-4, 1e-3, 2e-3, 4e-3),
    "nadam": (5e-4, 1e-3, 2e-3),
    "adamax": (1e-3, 2e-3, 4e-3),
    "lamb": (2e-3, 5e-3, 1e-2),
    "sgd:momentum=0.9,nesterov=true": (0.03, 0.1, 0.3),
    "rmsprop": (2e-4, 5e-4),
    "power-sign": (2e-4, 5e-4),
}
SCHEDULES = ("linear", "warmup-stable-decay", "one-cycle", "constant", "triangular2", "inverse-square-root")
SCHEDULED = ("adamw", "muon")
RESIDUES, NUM_TRAINING, NUM_VALID = 400_000, 4000, 300


def write_part(source: Path, target: Path, count: int) -> None:
    """The first records of a gzipped FASTA that are no longer than 600 residues, evenly spread over it."""
    with gzip.open(source, "rt") as file:
        records = file.read().split(">")[1:]
    records = [record for record in records if len(record) < 600]
    stride = max(1, len(records) // count)
    target.write_text("".join(f">{record}" for record in records[::stride][:count]))


def train(
    folder: Path, optimizer: str, schedule: str, rate: float, seed: int, size: str, residues: int
) -> dict[str, Any]:
    """Held-out loss in nats and processor seconds of one pretraining."""
    from seqtrain.config import PretrainConfig
    from seqtrain.errors import RunError
    from seqtrain.fitting import Silent
    from seqtrain.recipes.pretrain import pretrain

    started = time.process_time()
    with tempfile.TemporaryDirectory() as output:
        config = PretrainConfig(
            inputs=(str(folder / "train.fasta"),), valid=str(folder / "valid.fasta"), output=f"{output}/run", size=size,
            residues=residues, optimizer=optimizer, schedule=schedule, learning_rate=rate, seed=seed,
            num_evaluations=1, device="cpu",
        )  # fmt: skip
        try:
            loss = pretrain(config, Silent())["valid"]["loss"]
        except RunError as error:
            return {"loss": None, "why": str(error)[:80]}
    return {"loss": round(float(loss), 4), "cpu_seconds": round(time.process_time() - started, 1)}


def summary(cells: dict[str, Any], seeds: int) -> dict[str, Any]:
    """Mean and standard deviation over seeds for every cell that has any."""
    table: dict[str, Any] = {}
    for key in sorted({key.rpartition("|")[0] for key in cells}):
        values = [cells[f"{key}|{seed}"]["loss"] for seed in range(seeds) if f"{key}|{seed}" in cells]
        known = [value for value in values if value is not None]
        table[key] = {
            "seeds": len(values),
            "failed": len(values) - len(known),
            "loss": round(mean(known), 4) if known else None,
            "sd": round(stdev(known), 4) if len(known) > 1 else None,
        }
    return table


def best_rate(cells: dict[str, Any], optimizer: str, seeds: int) -> float:
    """The rate with the lowest mean loss under warm-up and cosine."""

    def loss(rate: float) -> float:
        found = [cells.get(f"{optimizer}|warmup-cosine|{rate:g}|{seed}", {}).get("loss") for seed in range(seeds)]
        known = [value for value in found if value is not None]
        return mean(known) if known else float("inf")

    return min(RATES[optimizer], key=loss)


def main() -> None:
    """Train what is missing, the first seed of everything first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="1 M parameters, 3 M residues")
    parser.add_argument(
        "--only", nargs="*", metavar="OPTIMIZER=RATE", default=(),
        help="these alone, under warm-up and cosine, with 1 M parameters and 1.5 M residues",
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, default=60, help="begin no cell after so long")
    options = parser.parse_args()
    size, residues = ("1M", 3_000_000) if options.full else ("1M", 1_500_000) if options.only else ("300K", RESIDUES)
    name = "optimizers_full" if options.full else "optimizers_1M" if options.only else "optimizers"
    path = RESULTS / f"{name}.json"
    cells: dict[str, Any] = json.loads(path.read_text())["cells"] if path.exists() else {}
    deadline = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        count = 40_000 if options.full or options.only else NUM_TRAINING
        write_part(options.data / "unlabeled_train.fasta.gz", folder / "train.fasta", count)
        write_part(options.data / "unlabeled_valid.fasta.gz", folder / "valid.fasta", NUM_VALID)

        def run(optimizer: str, schedule: str, rate: float, seed: int) -> None:
            key = f"{optimizer}|{schedule}|{rate:g}|{seed}"
            if key in cells or time.monotonic() > deadline:
                return
            cells[key] = train(folder, optimizer, schedule, rate, seed, size, residues)
            print(key, cells[key], flush=True)
            write_report(
                name,
                "masked-LM loss on held-out proteins after a fixed budget, by optimiser, schedule, peak rate and seed",
                packages=("torch",),
                network=f"transformer {size}",
                residues=residues,
                seeds=options.seeds,
                table=summary(cells, options.seeds),
                cells=cells,
            )

        for seed in range(options.seeds):
            for each in options.only:
                optimizer, _, rate = each.rpartition("=")
                run(optimizer, "warmup-cosine", float(rate), seed)
            if options.only:
                continue
            for optimizer, rates in RATES.items():
                for rate in rates:
                    run(optimizer, "warmup-cosine", rate, seed)
            for optimizer in SCHEDULED:
                for schedule in SCHEDULES:
                    run(optimizer, schedule, best_rate(cells, optimizer, 1), seed)
    for key, cell in sorted(summary(cells, options.seeds).items(), key=lambda item: item[1]["loss"] or 99):
        print(f"{key:<60} {cell['loss']} ± {cell['sd']} ({cell['seeds']} seeds)")


if __name__ == "__main__":
    main()
