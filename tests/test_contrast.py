"""Contrastive pretraining from words to a finished run: what is learnt, remembered, refused, and said of a collapse."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from seqtrain.alphabet import PROTEIN
from seqtrain.batch import Batch
from seqtrain.batching import Examples
from seqtrain.config import PretrainConfig
from seqtrain.encode import Tokens
from seqtrain.errors import InputError, Stopped
from seqtrain.fitting import Silent
from seqtrain.io.records import Record
from seqtrain.io.store import SequenceStore
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.network import build
from seqtrain.models.pretrained import load_network
from seqtrain.objectives import Score, SimSiam
from seqtrain.objectives.views import partners
from seqtrain.recipes import self_supervision
from seqtrain.recipes.contrast import contrastive_measures, projection_head
from seqtrain.recipes.pretrain import pretrain
from seqtrain.recipes.self_supervision import outcome
from seqtrain.spans import Spans
from seqtrain.training import LoopConfig
from seqtrain_data.families import FamilyWorld, write_fasta
from tests.contracts.test_resume import StopsAt


class Noting(Silent):
    """A listener that keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "said", [])

    def say(self, text: str) -> None:
        self.said.append(text)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.fasta"
    write_fasta(path, FamilyWorld(num_families=12, length=40).sample(300, seed=1))
    return path


def settings(corpus: Path, output: Path, objective: str, **fields: Any) -> PretrainConfig:
    given: dict[str, Any] = {
        "steps": 40, "tokens_per_step": 2048, "tokens_per_microbatch": 1024, "learning_rate": 1e-3,
        "num_evaluations": 2, "size": "52K", "max_length": 40, "device": "cpu",
    }  # fmt: skip
    return PretrainConfig(inputs=(str(corpus),), output=str(output), objective=objective, **given | fields)


@pytest.mark.parametrize("objective", ["sim-clr", "nnclr:support_size=256", "sim-siam"])
def test_each_objective_learns_without_collapsing(objective: str, corpus: Path, tmp_path: Path) -> None:
    listener = Noting()
    results = pretrain(settings(corpus, tmp_path / "run", objective), listener)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    valid = [row for row in rows if row["event"] == "valid"]
    assert valid[-1]["loss"] < valid[0]["loss"] - 0.2
    assert results["valid"]["spread"] > 0.2 and results["valid"]["effective_rank"] > 2.5
    assert not [text for text in listener.said if "collapsed" in text]  # type: ignore[attr-defined]
    assert "effective rank" in (tmp_path / "run/report.html").read_text()
    network, _ = load_network(tmp_path / "run/model")
    assert not list(network.head.buffers()), "a finished model keeps no support set"
    if objective == "sim-clr":
        assert results["valid"]["accuracy"] > 0.4


@dataclass(frozen=True, kw_only=True)
class WithoutStop(SimSiam):
    """SimSiam with neither a stop of gradients nor standardised targets: all alike is its best answer."""

    def score(self, outputs: torch.Tensor, batch: Batch) -> Score:
        projections, predictions = outputs.chunk(2, dim=1)
        cosines = functional.cosine_similarity(predictions, projections[partners(len(batch), outputs.device)], dim=1)
        return Score(-cosines.sum(), torch.tensor(float(len(batch))))


def test_a_collapse_is_said_once_in_words(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_supervision, "read_words", lambda *a, **k: (WithoutStop(alphabet=PROTEIN), {}))
    listener = Noting()
    pretrain(settings(corpus, tmp_path / "run", "sim-siam", num_evaluations=4, learning_rate=5e-3), listener)
    said = [text for text in listener.said if "collapsed" in text]  # type: ignore[attr-defined]
    assert len(said) == 1 and said[0].startswith("step ") and "\n" not in said[0]
    assert "the network answers nearly the same for all sequences" in said[0]


def left_behind(run: Path) -> dict[str, Any]:
    """Everything that a pretraining writes and that time does not change, its last checkpoint whole."""
    last = max(run.glob("checkpoints/step-*"))
    files = [*last.glob("*.safetensors"), *run.glob("model/*")]
    found: dict[str, Any] = {str(path.relative_to(run)): path.read_bytes() for path in files}
    found["state"] = json.loads((last / "state.json").read_text())
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found["metrics"] = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    return found


@pytest.mark.parametrize(
    ("objective", "fields"),
    [
        ("sim-clr:temperature=0.5", {"dropout": 0.2}),
        ("nnclr:support_size=30", {"average": "ema:decay=0.8", "augment": ("matrix-substitution:rate=0.2",)}),
        ("sim-siam", {"long": "window", "max_length": 25}),
    ],
)
def test_stopped_and_continued_equals_left_alone(
    objective: str, fields: dict[str, Any], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)
    few: dict[str, Any] = {"steps": 9, "tokens_per_step": 700, "tokens_per_microbatch": 200, **fields}
    pretrain(settings(corpus, tmp_path / "alone", objective, **few), Silent())
    whole = left_behind(tmp_path / "alone")
    for stop in (3, 6):
        with pytest.raises(Stopped):
            pretrain(settings(corpus, tmp_path / "stopped", objective, **few), StopsAt(stop))
    pretrain(settings(corpus, tmp_path / "stopped", objective, **few), Silent())
    stopped = left_behind(tmp_path / "stopped")
    assert stopped.keys() == whole.keys() and "head.safetensors" in str(whole.keys())
    assert [name for name in whole if stopped[name] != whole[name]] == []
    last = load_file(max((tmp_path / "alone/checkpoints").glob("step-*")) / "model.safetensors")
    if objective.startswith("nnclr"):
        # One entry per record and step, although each step is computed twice.
        rows = [row for row in whole["metrics"] if row["event"] == "train"]
        assert len(rows) == 9 and 30 < int(last["head.support.num_written"]) < 9 * 700 / 84 + 9
        assert (last["head.support.records"] >= 0).all()


def test_measures_do_not_depend_on_what_is_computed_at_once() -> None:
    members = FamilyWorld(num_families=3, length=30).sample(300, seed=5)
    records = [Record(m.identifier, PROTEIN.pack(m.sequence.encode()), "", "") for m in members]
    store = SequenceStore.in_memory(records, PROTEIN)
    spans = Spans.whole(np.arange(300), store.lengths)
    examples = Examples(store=store, spans=spans, encoder=Tokens(PROTEIN), num_views=2)
    objective = SimSiam(alphabet=PROTEIN, projections=6)
    torch.manual_seed(0)
    network = build(CNNConfig(width=16, depth=1), projection_head(objective))
    loop = LoopConfig(device=torch.device("cpu"))
    one, other = (contrastive_measures(network, objective, examples, loop, tokens) for tokens in (100, 5000))
    assert one == pytest.approx(other, rel=1e-4, abs=1e-5)
    assert network.training, "the mode it came in is given back"


@pytest.mark.parametrize(
    ("objective", "fields", "message"),
    [
        ("sim-clr:masked_fraction=0,crop_fraction=1", {}, "views of a sequence would be equal; mask letters"),
        ("sim-clr:temperature=-1", {}, "--objective sim-clr:temperature=-1: sim-clr: temperature is -1"),
        ("nnclr:support_size=0", {}, "support_size is 0; give a whole number above 0"),
        ("nnclr:support_size=20", {}, "support_size=20 is no more than the 24 sequences of a step"),
        ("nnclr", {"tokens_per_step": 10**6}, "holds all sequences, and neighbours are others"),
        ("nnclr:support=x", {}, "support cannot be written in words"),
        ("simclr", {}, "no objective is called 'simclr'; did you mean 'sim-clr'?"),
        ("sim-siam:crop=0.5", {}, "did you mean 'crop_fraction'"),
        ("sim-clr", {"tokens_per_step": 100}, "--tokens-per-step 100: two sequences in 2 views take up to 168 tokens"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(
    objective: str, fields: dict[str, Any], message: str, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        pretrain(settings(corpus, tmp_path / "run", objective, **fields), Silent())
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_one_sequence_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    for name, text in (("one", ">a\nACDEFGHIKLMNPQRSTVWY\n"), ("valid", ">b\nACDEFGHIKLMNPQ\n>c\nWWYAACD\n")):
        (tmp_path / f"{name}.fasta").write_text(text)
    config = settings(tmp_path / "one.fasta", tmp_path / "run", "sim-clr", valid=str(tmp_path / "valid.fasta"))
    with pytest.raises(InputError, match="there is one to train on; give more"):
        pretrain(config, Silent())


@pytest.mark.parametrize(
    ("curriculum", "message"),
    [
        ("automatic:by=length,groups=2", "length 22 to 22 (group 2) holds one sequence"),
        ("shortest-first:first_fraction=0.4", "begins with 0.4 of the examples, one sequence"),
    ],
)
def test_a_curriculum_that_shows_one_sequence_is_refused(curriculum: str, message: str, tmp_path: Path) -> None:
    letters = "ACDEFGHIKLMNPQRSTVWY"
    texts = [letters, letters[::-1] + "A", letters + "CC"]
    for name in ("three", "valid"):
        (tmp_path / f"{name}.fasta").write_text("".join(f">{i}\n{text}\n" for i, text in enumerate(texts)))
    valid = str(tmp_path / "valid.fasta")
    config = settings(tmp_path / "three.fasta", tmp_path / "run", "sim-clr", valid=valid, curriculum=curriculum)
    with pytest.raises(InputError) as refused:
        pretrain(config, Silent())
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_one_sequence_held_out_is_said_to_tell_nothing(tmp_path: Path) -> None:
    letters = "ACDEFGHIKLMNPQRSTVWY"
    (tmp_path / "three.fasta").write_text("".join(f">{i}\n{letters[i:]}\n" for i in range(3)))
    (tmp_path / "valid.fasta").write_text(f">v\n{letters[::-1]}\n")
    config = settings(
        tmp_path / "three.fasta", tmp_path / "run", "sim-clr", valid=str(tmp_path / "valid.fasta"), steps=2
    )
    listener = Noting()
    results = pretrain(config, listener)
    said = "\n".join(listener.said)  # type: ignore[attr-defined]
    assert "one sequence is held out" in said and "collapsed" not in said
    assert results["valid"]["loss"] == pytest.approx(0, abs=1e-6)
    assert "Spread" not in (tmp_path / "run/report.html").read_text()
    assert "nan" not in outcome(SimSiam(alphabet=PROTEIN), results["valid"], 20.0)


def test_augmented_views_differ_without_masks_and_crops(corpus: Path, tmp_path: Path) -> None:
    words = "sim-clr:masked_fraction=0,crop_fraction=1"
    augment = ("matrix-substitution:rate=0.3",)
    results = pretrain(settings(corpus, tmp_path / "run", words, steps=2, augment=augment), Silent())
    assert results["valid"]["alignment"] > 1e-3
