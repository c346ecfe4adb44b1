"""On protein families whose best possible scores are known, training gets close to them and never beyond."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from seqtrain.config import FinetuneConfig, PretrainConfig
from seqtrain.fitting import Silent
from seqtrain.recipes.finetune import finetune
from seqtrain.recipes.pretrain import pretrain
from seqtrain_data.families import FamilyWorld, write_fasta, write_table

WORLD = FamilyWorld(seed=4, num_families=4, length=32, conservation=1.5)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("base")
    write_fasta(folder / "train.fasta", WORLD.sample(1500, seed=1))
    write_fasta(folder / "valid.fasta", WORLD.sample(200, seed=2))
    config = PretrainConfig(
        inputs=(str(folder / "train.fasta"),), valid=str(folder / "valid.fasta"), output=str(folder / "run"),
        size="100K", steps=600, tokens_per_step=2048, learning_rate=3e-3, num_evaluations=1,
    )  # fmt: skip
    return folder / "run", pretrain(config, Silent())


def test_masked_loss_approaches_the_optimum(base: tuple[Path, dict[str, Any]]) -> None:
    loss = base[1]["valid"]["loss"]
    optimum, unigram = WORLD.optimal_masked_loss(), WORLD.unigram_entropy()
    assert loss > optimum - 0.05, "a masked loss below the optimum means that the answer leaks"
    assert loss < optimum + 0.3 * (unigram - optimum)


@pytest.mark.parametrize(
    ("target", "metric", "fraction"),
    [("family", "accuracy", 0.95), ("value", "spearman", 0.6), ("states", "accuracy", 0.95)],
)
def test_finetuning_approaches_the_optimum(
    base: tuple[Path, dict[str, Any]], tmp_path: Path, target: str, metric: str, fraction: float
) -> None:
    write_table(tmp_path / "table.csv", WORLD.sample(1000, seed=3))
    start = {"init_from": str(base[0])} if target == "family" else {"model": "cnn", "size": "100K"}
    config = FinetuneConfig(
        table=str(tmp_path / "table.csv"), target=(target,), output=str(tmp_path / "run"),
        epochs=8, tokens_per_step=1024, learning_rate=2e-3, num_evaluations=4, **start,
    )  # fmt: skip
    results = finetune(config, Silent())
    optima = {"family": WORLD.bayes_accuracy, "value": WORLD.best_spearman, "states": WORLD.best_state_accuracy}
    best = optima[target]()
    (test,) = [each for each in results["sets"] if each["name"] == "test"]
    assert fraction * best < test["metrics"][metric] <= min(1.0, best + 0.1)
    with (tmp_path / "run/predictions.csv").open(newline="") as file:
        assert {row["set"] for row in csv.DictReader(file)} == {"valid", "test"}
