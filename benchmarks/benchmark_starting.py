"""Does it matter where the weights of a small network start? Two rules, the same networks, tasks and steps.

fixed: embeddings and heads normal with deviation 0.02, as ESM-2 starts, and residual branches as torch draws them.
kept: what seqtrain does by itself (seqtrain.models.starting): layers that keep the variance of what goes in, and
branches that start smaller than the embeddings. A transformer's body starts as ESM-2 in both; its head differs.

classes: 700 proteins of the 7 SCOP classes, balanced, 8 epochs; macro-F1 on others.
folds: 1,500 domains of some 160 folds, sampled in balance, 12 epochs; macro-F1 on others of the same folds.
masked-lm: 400,000 residues; loss in nats on other proteins (with heads that are tied to the embeddings).

    python benchmarks/benchmark_starting.py --data FOLDER [--seeds N] [--processes N]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import csv
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmark_imbalance import folds, long_tailed, read_classes, read_folds
from benchmark_optimizers import NUM_TRAINING, NUM_VALID, RESIDUES, write_part
from grid import Grid, compared, grid_parser

TASKS = {"classes": "macro_f1", "folds": "macro_f1", "masked-lm": "loss"}
NETWORKS = ("cnn", "u-net", "transformer")
SAME_IN_BOTH = "masked-lm", "transformer"
"""A transformer's body starts in the same way, and its language model head too."""
STARTS = ("fixed", "kept")
SIZE = "100K"


def start_fixed(network: Any) -> None:
    """Draw anew what :mod:`seqtrain.models.starting` decides, with the fixed deviation and torch's own branches."""
    from torch import nn

    from seqtrain.models.cnn import CNN
    from seqtrain.models.heads import PooledHead
    from seqtrain.models.starting import start_as_esm
    from seqtrain.models.unet import UNet

    if isinstance(network.head, PooledHead):
        network.head.dense.apply(start_as_esm)
        network.head.output.apply(start_as_esm)
    if isinstance(network.body, CNN | UNet):
        nn.init.normal_(network.body.embedding.weight, std=0.02)
        for block in network.body.blocks:
            last = block.up if isinstance(network.body, CNN) else block.second.convolution
            last.reset_parameters()


def finetune(rows: list[tuple[str, str, str]], network: str, start: str, seed: int, **options: Any) -> dict[str, Any]:
    """The last macro-F1 and loss on the test rows, which are scored only."""
    from seqtrain.config import FinetuneConfig
    from seqtrain.fitting import Silent
    from seqtrain.recipes.finetuning import prepare_finetuning

    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        scored = {"train": "train", "test": "valid"}
        with table.open("w", newline="") as file:
            csv.writer(file).writerow(("sequence", "label", "set"))
            csv.writer(file).writerows((text, label, scored[name]) for text, label, name in rows if name in scored)
        config = FinetuneConfig(
            table=str(table), target=("label",), task="classification", model=network, size=SIZE, seed=seed,
            num_evaluations=1, device="cpu", **options,
        )  # fmt: skip
        return _fitted(prepare_finetuning(config, Silent()).training, start, seed, Path(folder))


def pretrain(folder: Path, network: str, start: str, seed: int) -> dict[str, Any]:
    """The loss on held-out proteins."""
    from seqtrain.config import PretrainConfig
    from seqtrain.fitting import Silent
    from seqtrain.recipes.pretraining import prepare_pretraining

    config = PretrainConfig(
        inputs=(str(folder / "train.fasta"),), valid=str(folder / "valid.fasta"), model=network, size=SIZE,
        residues=RESIDUES, seed=seed, num_evaluations=1, device="cpu",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as run:
        return _fitted(prepare_pretraining(config, Silent(), Path(run)), start, seed, Path(run))


def _fitted(training: Any, start: str, seed: int, folder: Path) -> dict[str, Any]:
    import torch

    from seqtrain.fitting import Silent, fit

    torch.set_num_threads(1)
    if start == "fixed":
        torch.manual_seed(seed)
        start_fixed(training.network)
    run = folder / "run"
    run.mkdir()
    fit(training, run, Silent())
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [event for event in events if event["event"] == "valid"][-1]
    return {name: round(float(last[name]), 4) for name in ("macro_f1", "loss") if name in last}


def prepared(data: Path, folder: Path, task: str, network: str, start: str, seed: int) -> Any:
    """What computes one cell."""
    if task == "masked-lm":
        return pretrain, (folder, network, start, seed)
    if task == "classes":
        return partial(finetune, epochs=8), (long_tailed(read_classes(data), 1, seed), network, start, seed)
    balanced: Callable[..., dict[str, Any]] = partial(finetune, epochs=12, sampling="balanced")
    return balanced, (folds(read_folds(data), seed), network, start, seed)


def summary(cells: dict[str, Any], seeds: int) -> dict[str, Any]:
    """Each measure by task, network and start, and its paired difference from the fixed start."""
    table: dict[str, Any] = {}
    for task, measure in TASKS.items():
        for network in (each for each in NETWORKS if (task, each) != SAME_IN_BOTH):
            found = {
                start: [cells.get(f"{task}|{network}|{start}|{seed}", {}).get(measure) for seed in range(seeds)]
                for start in STARTS
            }
            for start in STARTS:
                table.setdefault(task, {})[f"{network}, {start}"] = compared(found[start], found["fixed"], measure)
    return table


def main() -> None:
    """Train what is missing, seed by seed, and write the table after every cell."""
    options = grid_parser(__doc__, seeds=3).parse_args()
    grid = Grid(
        name="starting",
        title="where the weights of small networks start: macro-F1 and masked-LM loss",
        packages=("torch",),
        same={"size": SIZE, "residues": RESIDUES},
        facts={"seeds": options.seeds},
        table=partial(summary, seeds=options.seeds),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_part(options.data / "unlabeled_train.fasta.gz", folder / "train.fasta", NUM_TRAINING)
        write_part(options.data / "unlabeled_valid.fasta.gz", folder / "valid.fasta", NUM_VALID)
        wanted = (
            (f"{task}|{network}|{start}|{seed}", partial(prepared, options.data, folder, task, network, start, seed))
            for seed in range(options.seeds)
            for task in TASKS
            for network in NETWORKS
            if (task, network) != SAME_IN_BOTH
            for start in STARTS
        )
        grid.fill(wanted, processes=options.processes, minutes=options.minutes)
    grid.show()


if __name__ == "__main__":
    main()
