"""Which changes to a transformer lower the masked-LM loss, at equal steps and at equal compute?

Each variant changes one thing of the gated transformer (the arithmetic of ESM C) or is the transformer of ESM-2. All
are pretrained from scratch on the same real proteins in the same order, with the same masks, steps and rate, and scored
on held-out proteins with fixed masks. The time of a training step is CPU time on one thread, all variants in turns on
the same batches; for "equal compute" a variant is trained again on as many residues fewer (or more) as its step takes
longer (or shorter). Differences are from the gated transformer, seed by seed. What was trained is kept in the result
file: a run that is started again goes on with the missing cells.

    python benchmarks/benchmark_architectures.py --data FOLDER [--sizes 300K 1M] [--seeds 3] [--minutes 60]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median, stdev
from typing import TYPE_CHECKING, Any

from architecture_variants import VARIANTS, Variant, build_body
from timing import RESULTS, write_report

if TYPE_CHECKING:
    from seqtrain.fitting import Training

NUM_TRAINING, NUM_VALID, LONGEST = 4000, 500, 600
RESIDUES = {"300K": 400_000, "1M": 600_000}
TIMED_ROUNDS = 12
RATE = 1e-3
REFERENCE = "gated"


def write_part(source: Path, target: Path, count: int) -> None:
    """Records of a gzipped FASTA that are no longer than :data:`LONGEST`, evenly spread over it."""
    with gzip.open(source, "rt") as file:
        records = file.read().split(">")[1:]
    records = [record for record in records if len(record) < LONGEST]
    stride = max(1, len(records) // count)
    target.write_text("".join(f">{record}" for record in records[::stride][:count]))


def prepared(folder: Path, output: Path, variant: Variant, size: str, residues: int, seed: int) -> Training:
    """A pretraining as ``seqtrain pretrain`` has it, but of a variant."""
    import torch

    from seqtrain.config import PretrainConfig
    from seqtrain.draws import generator_seed
    from seqtrain.fitting import Silent
    from seqtrain.models.heads import LanguageModelHeadConfig
    from seqtrain.models.network import Network
    from seqtrain.models.transformer import TransformerConfig
    from seqtrain.recipes.pretraining import prepare_pretraining

    config = PretrainConfig(
        inputs=(str(folder / "train.fasta"),), valid=str(folder / "valid.fasta"), output=str(output), size=size,
        residues=residues, learning_rate=RATE, seed=seed, num_evaluations=1, device="cpu", precision="fp32",
    )  # fmt: skip
    training = prepare_pretraining(config, Silent(), output)
    network = training.network
    assert isinstance(network, Network)
    frequencies = network.head.bias.detach().clone()  # type: ignore[operator, union-attr]
    torch.manual_seed(generator_seed(seed, "weights"))
    shape = TransformerConfig.shape(size)
    network.body = build_body(variant, **shape)
    tied = variant.tied or variant.model == "transformer"
    network.head = LanguageModelHeadConfig(tied=tied).build(shape["width"])
    with torch.no_grad():
        network.head.bias.copy_(frequencies)
    return training


def train(folder: Path, variant: Variant, size: str, residues: int, seed: int) -> dict[str, Any]:
    """Held-out loss in nats after one pretraining, and its CPU seconds."""
    from seqtrain.fitting import Silent, fit

    with tempfile.TemporaryDirectory() as output:
        training = prepared(folder, Path(output), variant, size, residues, seed)
        started = time.process_time()
        fit(training, Path(output), Silent())
        seconds = time.process_time() - started
        loss = training.evaluate()["loss"]
    return {"loss": round(loss, 4), "residues": residues, "cpu_seconds": round(seconds, 1)}


def step_times(folder: Path, size: str) -> dict[str, float]:
    """Median CPU seconds of a training step of each variant, on the same batches in turns."""
    from seqtrain.batching import MicrobatchBudget, Microbatches, steps_from
    from seqtrain.training import train_steps

    with tempfile.TemporaryDirectory() as output:
        loops: dict[str, Iterator[Any]] = {}
        for name, variant in VARIANTS.items():
            training = prepared(folder, Path(output), variant, size, RESIDUES[size], 0)
            examples, budget = training.examples, MicrobatchBudget(training.first_microbatch)
            steps = (Microbatches(s, examples, budget) for s in steps_from(examples, training.tokens_per_step, 0, 0))
            optimizer = training.optimizer.build(training.network)
            loops[name] = train_steps(
                training.network, training.objective, steps, optimizer, training.schedule, training.loop
            )
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        for turn in range(TIMED_ROUNDS + 1):
            for name in loops if turn % 2 else reversed(loops):
                started = time.process_time()
                next(loops[name])
                if turn:
                    seconds[name].append(time.process_time() - started)
    return {name: round(median(values), 5) for name, values in seconds.items()}


def compared(cells: dict[str, Any], size: str, name: str, budget: str, seeds: int) -> dict[str, Any] | None:
    """Mean loss, and the differences from the gated transformer of the same seeds; None where nothing was trained."""
    losses, differences = [], []
    for seed in range(seeds):
        cell, reference = cells.get(f"{size}|{name}|{budget}|{seed}"), cells.get(f"{size}|{REFERENCE}|steps|{seed}")
        if cell is not None and reference is not None:
            losses.append(cell["loss"])
            differences.append(cell["loss"] - reference["loss"])
    if not losses:
        return None
    spread = round(stdev(differences), 4) if len(differences) > 1 else None
    return {
        "loss": round(mean(losses), 4),
        "difference": round(mean(differences), 4),
        "sd": spread,
        "seeds": len(losses),
    }


def summary(cells: dict[str, Any], times: dict[str, dict[str, float]], seeds: int) -> list[dict[str, Any]]:
    """A row per size and variant."""
    rows = []
    for size in RESIDUES:
        for name in VARIANTS:
            steps = compared(cells, size, name, "steps", seeds)
            if steps is None:
                continue
            row = {"size": size, "variant": name, "equal_steps": steps}
            row["equal_compute"] = compared(cells, size, name, "compute", seeds)
            if name in times.get(size, {}):
                row["relative_step_time"] = round(times[size][name] / times[size][REFERENCE], 3)
            rows.append(row)
    return rows


def print_rows(rows: list[dict[str, Any]]) -> None:
    """The table, for reading and for docs."""
    print("| size | variant | loss | difference at equal steps | step time | difference at equal compute |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        texts = [
            f"{cell['difference']:+.4f} ± {cell['sd']} ({cell['seeds']} seeds)" if cell else "–"
            for cell in (row["equal_steps"], row["equal_compute"])
        ]
        loss, time_ratio = row["equal_steps"]["loss"], row.get("relative_step_time", "–")
        print(f"| {row['size']} | {row['variant']} | {loss} | {texts[0]} | {time_ratio} | {texts[1]} |")


def main() -> None:
    """Train what is missing, the first seed of everything first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sizes", nargs="+", default=["300K"], choices=list(RESIDUES))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60, help="begin no cell after so long")
    options = parser.parse_args()
    path = RESULTS / "architectures.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    cells, times = known.get("cells", {}), known.get("step_cpu_seconds", {})
    deadline = time.monotonic() + 60 * options.minutes

    def save() -> None:
        write_report(
            "architectures",
            "masked-LM loss on held-out proteins by architecture, at equal steps and at equal compute",
            packages=("torch",), rate=RATE, residues=RESIDUES, seeds=options.seeds, step_cpu_seconds=times,
            table=summary(cells, times, options.seeds), cells=cells,
        )  # fmt: skip

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_part(options.data / "unlabeled_train.fasta.gz", folder / "train.fasta", NUM_TRAINING)
        write_part(options.data / "unlabeled_valid.fasta.gz", folder / "valid.fasta", NUM_VALID)
        for size in options.sizes:
            if set(VARIANTS) - set(times.get(size, {})):
                times[size] = step_times(folder, size)
                save()
            for budget in ("steps", "compute"):
                for seed in range(options.seeds):
                    for name in options.variants:
                        key = f"{size}|{name}|{budget}|{seed}"
                        is_reference = budget == "compute" and name == REFERENCE
                        if key in cells or is_reference or time.monotonic() > deadline:
                            continue
                        share = 1.0 if budget == "steps" else times[size][REFERENCE] / times[size][name]
                        cells[key] = train(folder, VARIANTS[name], size, round(RESIDUES[size] * share), seed)
                        print(key, cells[key], flush=True)
                        save()
    print_rows(summary(cells, times, options.seeds))


if __name__ == "__main__":
    main()
