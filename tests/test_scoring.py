"""Scores of each task: nothing scored is nan, weights count as in training, simple models stay aligned with labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqtrain import scoring
from seqtrain.alphabet import CODON, PROTEIN, Alphabet
from seqtrain.io.columns import find_columns
from seqtrain.io.delimited import read_table, write_table
from seqtrain.io.ledger import Ledger
from seqtrain.io.records import RecordReader
from seqtrain.labeled import LabeledData, read_labeled
from seqtrain.paired import Lead
from seqtrain.scoring import Scored, mean_loss, rows_of, score_set, simple_models
from seqtrain.tasks import TaskKind

RNG = np.random.default_rng(5)


def labeled(path: Path, columns: dict[str, list[str]], kind: TaskKind, alphabet: Alphabet = PROTEIN) -> LabeledData:
    write_table(path, list(columns), zip(*columns.values(), strict=True))
    table = read_table(path)
    weight = "weight" if "weight" in columns else None
    found = find_columns(table, targets=("label",), weight=weight)
    reader = RecordReader(alphabet, "error", Ledger(), keep_bad=True)
    return read_labeled(table, found, kind, reader, seed=0)


def words(count: int, length: int, letters: str) -> list[str]:
    return ["".join(RNG.choice(list(letters), length)) for _ in range(count)]


def test_loss_of_nothing_scored_is_nan(tmp_path: Path) -> None:
    columns = {"sequence": words(20, 9, "ACDEF"), "label": ["a", "b"] * 10, "weight": ["0"] * 5 + ["1"] * 15}
    data = labeled(tmp_path / "t.csv", columns, "classification")
    outputs = np.zeros((20, 2), np.float32)
    assert np.isnan(mean_loss(data.task, data, outputs, np.arange(5)))
    assert mean_loss(data.task, data, outputs, np.arange(20)) == pytest.approx(np.log(2))


def test_weights_count_per_residue_too(tmp_path: Path) -> None:
    columns = {"sequence": ["ACDE", "ACD"], "label": ["HHHH", "EEE"], "weight": ["3", "1"], "set": ["train", "train"]}
    data = labeled(tmp_path / "t.csv", columns, "residue")
    outputs = np.tile(np.array([1.0, 0.0], np.float32), (7, 1))
    losses = np.where(data.targets == 0, np.log1p(np.exp(-1)), np.log1p(np.exp(1)))
    weights = np.array([3] * 4 + [1] * 3)
    expected = (losses * weights).sum() / weights.sum()
    assert mean_loss(data.task, data, outputs, np.arange(2)) == pytest.approx(expected)


def test_simple_models_of_codons_are_aligned_with_their_labels(tmp_path: Path) -> None:
    codons = ["GCT", "TGG", "AAA", "CCC"]
    chosen = [RNG.integers(0, 4, int(RNG.integers(5, 30))) for _ in range(60)]
    columns = {
        "sequence": ["".join(codons[i] for i in row) for row in chosen],
        "label": ["".join("HE"[i % 2] for i in row) for row in chosen],
    }
    data = labeled(tmp_path / "t.csv", columns, "residue", CODON)
    train, test = np.arange(40), np.arange(40, 60)
    simple = simple_models(data.task, data, train, test, seed=0)
    assert {len(values) for values in simple.values()} == {len(rows_of(data.task, data, test))}
    outputs = np.zeros((len(data.store.letters), 2), np.float32)
    scored = score_set("test", data.task, data, outputs, test, baselines=simple)
    best = max(metrics["accuracy"] for metrics in scored.baselines.values())
    assert best == 1.0, "the label is a function of the codon"
    assert scored.lead is not None and scored.lead.high < 0 and "worse than" in scored.lead.words()
    assert scored.lead.p < 0.001 + 1e-9


def test_where_there_is_no_interval_this_is_said(tmp_path: Path) -> None:
    task = labeled(
        tmp_path / "t.csv", {"sequence": ["MKV", "MKA"], "label": ["a", "b"]}, "classification", PROTEIN
    ).task
    lead = Lead(over="majority class", its_score=0.0, low=float("nan"), high=float("nan"))
    said = Scored(name="test", num_records=1, metrics={"accuracy": 1.0}, lead=lead).words(task)
    assert said[0] == "test (1 record): accuracy 1.000 (no interval)"
    assert said[1].startswith("not better than the best simple model")
    assert "too few records" in said[1] and not any("nan" in line for line in said)


def honest(path: Path, kind: TaskKind) -> LabeledData:
    """120 test records; what they are does not matter here, only their labels do."""
    count = 140
    label = RNG.normal(size=count).round(3).astype(str) if kind == "regression" else RNG.choice(list("abb"), count)
    sets = ["train"] * 20 + ["test"] * 120
    columns = {"sequence": words(count, 9, "ACDEF"), "label": label.tolist(), "set": sets}
    return labeled(path, columns, kind)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_chance_is_not_called_better_and_skill_is(
    tmp_path: Path, kind: TaskKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small form of benchmarks/benchmark_honesty.py, with predictions drawn in the place of networks."""
    monkeypatch.setattr(scoring, "_num_resamples", lambda count: 200)
    data = honest(tmp_path / "t.csv", kind)
    records, width = np.arange(20, 140), data.task.outputs
    simple = simple_models(data.task, data, np.arange(20), records, 0, "linear")
    said = {"by chance": [0, 0], "by skill": [0, 0]}
    seeds = 40
    for seed in range(seeds):
        noise = np.random.default_rng(seed).normal(size=(140, width)).astype(np.float32)
        skill = np.eye(2)[data.targets] if kind == "classification" else data.targets
        for name, outputs in (("by chance", noise), ("by skill", (noise + 3 * skill).astype(np.float32))):
            scored = score_set("test", data.task, data, outputs, records, baselines=simple, seed=seed)
            assert scored.lead is not None and scored.chance is not None
            said[name][0] += scored.lead.words().startswith("better than")
            said[name][1] += bool(scored.chance.chance_words())
            lines = scored.words(data.task)
            assert any(line.startswith("no better than chance") for line in lines) == bool(scored.chance.chance_words())
    assert said["by chance"][0] <= 0.05 * seeds and said["by chance"][1] >= 0.95 * seeds - 1
    assert said["by skill"][0] >= 0.95 * seeds and said["by skill"][1] <= 0.05 * seeds


def test_chance_is_among_the_simple_models(tmp_path: Path) -> None:
    data = honest(tmp_path / "t.csv", "classification")
    records = np.arange(20, 140)
    outputs = np.tile(np.array([0.0, 1.0], np.float32), (140, 1))
    simple = simple_models(data.task, data, np.arange(20), records, 0, "all")
    assert {"majority class", "uniform random", "class-frequency random"} <= set(simple)
    scored = score_set("test", data.task, data, outputs, records, baselines=simple)
    assert scored.chance is not None and scored.chance.over == "majority class" and scored.chance.p == 1
    assert scored.words(data.task)[-1].startswith("no better than chance: majority class, which reaches")
    assert simple_models(data.task, data, np.arange(20), records, 0, "none") == {}
    alone = score_set("test", data.task, data, outputs, records, baselines={})
    assert alone.lead is None and alone.chance is None and len(alone.words(data.task)) == 1
