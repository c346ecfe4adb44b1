"""What does a step of Muon cost beside one of AdamW? Processor time of whole pretraining steps, taken in turns.

Both train the same transformer on the sample that ships, in one process on one thread, so that what else runs on the
machine meets both alike.

    python benchmarks/benchmark_optimizer_cost.py [--sizes 300K 1M] [--steps 14]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch
from timing import write_report

from seqtrain.batching import MicrobatchBudget, Microbatches, steps_from
from seqtrain.config import PretrainConfig
from seqtrain.fitting import Silent
from seqtrain.recipes.pretraining import prepare_pretraining
from seqtrain.training import StepReport, train_steps
from seqtrain_data import sample_path

OPTIMIZERS = ("adamw", "muon")
WARM_UP = 2


def trained(optimizer: str, size: str, folder: Path) -> Iterator[StepReport]:
    """The steps of a pretraining."""
    sample = str(sample_path("chloroplast_proteins.fasta"))
    config = PretrainConfig(
        inputs=(sample,), size=size, steps=1000, optimizer=optimizer, learning_rate=1e-3, device="cpu"
    )
    training = prepare_pretraining(config, Silent(), folder)
    budget = MicrobatchBudget(training.tokens_per_microbatch)
    steps = steps_from(training.examples, training.tokens_per_step, 0, 0)
    return train_steps(
        training.network,
        training.objective,
        (Microbatches(step, training.examples, budget) for step in steps),
        training.optimizer.build(training.network),
        training.schedule,
        training.loop,
    )


def main() -> None:
    """Take steps in turns, and write the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["300K", "1M"])
    parser.add_argument("--steps", type=int, default=14)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = {}
    for size in options.sizes:
        seconds: dict[str, list[float]] = {name: [] for name in OPTIMIZERS}
        with tempfile.TemporaryDirectory() as scratch:
            running = {name: trained(name, size, Path(scratch) / name) for name in OPTIMIZERS}
            for _ in range(options.steps):
                for name, steps in running.items():
                    started = time.process_time()
                    next(steps)
                    seconds[name].append(time.process_time() - started)
        medians = {name: median(taken[WARM_UP:]) for name, taken in seconds.items()}
        ratio = round(medians["muon"] / medians["adamw"], 3)
        table[size] = {**{name: round(value, 4) for name, value in medians.items()}, "muon_to_adamw": ratio}
        print(size, table[size], flush=True)
    write_report(
        "optimizer_cost",
        "processor seconds of a pretraining step, AdamW and Muon in turns",
        packages=("torch",),
        steps=options.steps - WARM_UP,
        table=table,
    )


if __name__ == "__main__":
    main()
