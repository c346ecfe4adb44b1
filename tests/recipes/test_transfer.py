"""Imprinting by the training records alone, rates by depth of published layouts, heads replaced, and all by words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import normalize

from seqtrain import scoring
from seqtrain.alphabet import PROTEIN
from seqtrain.config import FinetuneConfig
from seqtrain.errors import InputError
from seqtrain.fitting import Silent, fit
from seqtrain.inference import InferenceConfig, embeddings
from seqtrain.io.splits import TRAIN
from seqtrain.models.aligned_head import AlignedHeadConfig
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import LanguageModelHeadConfig, PooledHeadConfig, PositionHeadConfig
from seqtrain.models.imprinted_head import ImprintedHead, ImprintedHeadConfig
from seqtrain.models.light_attention import LightAttentionHeadConfig
from seqtrain.models.network import BodyConfig, HeadConfig, Network, build, language_model_head
from seqtrain.models.pretrained import save_network
from seqtrain.models.projection import ProjectionHeadConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.recipes.finetune import finetune
from seqtrain.recipes.finetuning import FinetuningJob, prepare_finetuning
from seqtrain.recipes.training_examples import labeled_examples
from seqtrain.run import load_run
from tests.corpora import proteins

TRANSFORMER = TransformerConfig(width=16, depth=2, num_heads=2)
SEQUENCES = proteins([12 + i * 7 % 30 for i in range(60)])
CLASSES = "abcd"


@dataclass(frozen=True)
class Heard(Silent):
    """Keeps what is said."""

    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither intervals nor syncing to disk are looked at here."""
    monkeypatch.setattr(scoring, "_num_resamples", lambda count: 2)
    monkeypatch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return saved(tmp_path / "base")


def saved(folder: Path, body: BodyConfig = TRANSFORMER, head: HeadConfig | None = None) -> Path:
    """A folder with random weights, large enough for embeddings to differ in direction."""
    torch.manual_seed(0)
    network = build(body, head or language_model_head(body))
    with torch.no_grad():
        for parameter in network.body.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    save_network(network, folder, PROTEIN.tokens)
    return folder


def table(folder: Path, classes: str = CLASSES, header: str = "sequence,label,worth,set", name: str = "t.csv") -> Path:
    rows = (
        f"{each},{classes[i // 4 % len(classes)]},{1 + i % 3},{('train', 'train', 'valid', 'test')[i % 4]}"
        for i, each in enumerate(SEQUENCES)
    )
    (folder / name).write_text("\n".join([header, *rows, ""]))
    return folder / name


def config(folder: Path, base: Path, **settings: Any) -> FinetuneConfig:
    given = {
        "table": str(table(folder)), "target": ("label",), "split_column": "set", "init_from": str(base), "steps": 3,
        "tokens_per_step": 200, "num_evaluations": 1, "device": "cpu", "output": str(folder / "run"),
        "task": "classification",
    }  # fmt: skip
    return FinetuneConfig(**(given | settings))


def prepared(folder: Path, base: Path, **settings: Any) -> FinetuningJob:
    return prepare_finetuning(config(folder, base, **settings), Silent())


def imprinted(job: FinetuningJob) -> ImprintedHead:
    assert isinstance(job.training.network, Network) and isinstance(job.training.network.head, ImprintedHead)
    return job.training.network.head


def embedded(job: FinetuningJob) -> np.ndarray:
    """(N, D) of all records, of length 1."""
    network = job.training.network
    assert isinstance(network, Network)
    examples = labeled_examples(job.config, job.data, np.arange(len(job.data.store)))
    rows = embeddings(
        network, examples, InferenceConfig(device=torch.device("cpu")),
        lambda batch: network.body(batch.inputs, batch.boundaries), "mean",
    )  # fmt: skip
    return np.asarray(normalize(rows))


@pytest.mark.parametrize("max_length", [1022, 15])
def test_without_a_step_the_run_is_the_nearest_class_mean(base: Path, tmp_path: Path, max_length: int) -> None:
    settings = config(tmp_path, base, head="imprinted-head", steps=0, max_length=max_length)
    job = prepare_finetuning(settings, Silent())
    rows, targets = embedded(job), np.asarray(job.data.targets)
    train = job.data.split.indices(TRAIN)
    reference = NearestCentroid().fit(rows[train], targets[train])
    reference.centroids_ = normalize(reference.centroids_)
    np.testing.assert_allclose(imprinted(job).directions.detach().numpy(), reference.centroids_, atol=1e-5)
    finetune(settings, Silent())
    run = load_run(tmp_path / "run")
    assert isinstance(run.single.head, ImprintedHead)
    assert torch.equal(run.single.head.directions, imprinted(job).directions)
    assert not [*(tmp_path / "run/checkpoints").glob("*")]
    if max_length > 100:  # of several windows the logits are averaged, not the embeddings
        lines = (tmp_path / "run/predictions.csv").read_text().splitlines()
        found = [line.split(",")[3] for line in lines[1:]]
        held_out = np.flatnonzero(job.data.split.sets != TRAIN)
        assert found == [CLASSES[i] for i in reference.predict(rows[held_out])]
    # A second call finds it done.
    heard = Heard()
    finetune(settings, heard)
    assert any("is finished" in line for line in heard.lines)


def test_only_training_records_imprint(base: Path, tmp_path: Path) -> None:
    before = imprinted(prepared(tmp_path, base, head="imprinted-head")).directions
    lines = table(tmp_path).read_text().splitlines()
    changed = [line if "train" in line else f"{line[5:12]}W{line[12:]}" for line in lines[1:]]
    (tmp_path / "other.csv").write_text("\n".join([lines[0], *changed, ""]))
    other = prepared(tmp_path, base, head="imprinted-head", table=str(tmp_path / "other.csv"))
    assert torch.equal(imprinted(other).directions, before)


def test_weights_count_and_a_bag_has_its_own_means(base: Path, tmp_path: Path) -> None:
    job = prepared(tmp_path, base, head="imprinted-head", weight_column="worth")
    rows, targets, train = embedded(job), np.asarray(job.data.targets), job.data.split.indices(TRAIN)
    assert job.data.weights is not None
    for number, direction in enumerate(imprinted(job).directions.detach().numpy()):
        mine = train[targets[train] == number]
        expected = normalize((rows[mine] * job.data.weights[mine, None]).sum(0, keepdims=True))[0]
        np.testing.assert_allclose(direction, expected, atol=1e-5)
    members = [
        imprinted(prepared(tmp_path, base, head="imprinted-head", bagging="bootstrap", member=number)).directions
        for number in range(2)
    ]
    assert not torch.equal(*members)


def test_a_class_that_a_bag_lacks_is_imprinted_from_all_its_records(base: Path, tmp_path: Path) -> None:
    text = table(tmp_path).read_text().splitlines()
    rare = [line.replace(",b,", ",a,") if i > 5 else line for i, line in enumerate(text)]
    (tmp_path / "rare.csv").write_text("\n".join([*rare, ""]))
    for member in range(6):
        job = prepared(
            tmp_path, base, head="imprinted-head", bagging="bootstrap", member=member, table=str(tmp_path / "rare.csv")
        )
        lengths = imprinted(job).directions.detach().norm(dim=1)
        torch.testing.assert_close(lengths, torch.ones(len(lengths)))


def test_training_goes_on_from_what_was_imprinted(base: Path, tmp_path: Path) -> None:
    job = prepared(tmp_path, base, head="imprinted-head:scale=20", steps=30, freeze="body", learning_rate=5e-3)
    start = imprinted(job).directions.detach().clone()
    (tmp_path / "fit").mkdir()
    fit(replace(job.training, keep_best=False), tmp_path / "fit", Silent())
    turned = torch.cosine_similarity(imprinted(job).directions.detach(), start)
    assert (turned > 0.7).all() and (turned < 0.9999).all()
    rows = map(json.loads, (tmp_path / "fit/metrics.jsonl").read_text().splitlines())
    losses = [row["loss"] for row in rows if row["event"] == "train"]
    assert len(losses) == 30 and np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"target": ("worth",), "task": "regression"}, "needs one class per sequence, and this is regression of worth"),
        ({"task": "multilabel"}, "needs one class per sequence"),
        ({"task": "residue", "target": ("sequence",)}, "is for one answer per sequence, not per residue"),
        ({"head": "imprinted-head:scale=0"}, "scale"),
        ({"head": "imprinted"}, "did you mean 'imprinted-head'"),
    ],
)
def test_labels_that_cannot_be_imprinted_are_refused(
    settings: dict[str, Any], said: str, base: Path, tmp_path: Path
) -> None:
    if settings.get("task") == "residue":
        lines = (f"{each},{'H' * len(each)},{('train', 'valid')[i % 2]}" for i, each in enumerate(SEQUENCES))
        (tmp_path / "r.csv").write_text("\n".join(["sequence,state,set", *lines, ""]).replace("H,train", "E,train"))
        settings = {"task": "residue", "target": ("state",), "table": str(tmp_path / "r.csv")}
    with pytest.raises(InputError, match=said):
        prepared(tmp_path, base, **({"head": "imprinted-head"} | settings))


def test_a_class_without_a_training_record_is_named(base: Path, tmp_path: Path) -> None:
    text = table(tmp_path).read_text().replace(",b,", ",a,")
    (tmp_path / "t2.csv").write_text(f"{text}{SEQUENCES[0]}A,e,1,test\n")
    with pytest.raises(InputError) as error:
        prepared(tmp_path, base, head="imprinted-head", table=str(tmp_path / "t2.csv"))
    assert str(error.value) == (
        "--head imprinted-head: class 'e' without a training record to start from; leave such records out, or take "
        "another head"
    )


DEEP = TransformerConfig(width=16, depth=3, num_heads=2)


@pytest.mark.parametrize("body", [DEEP, CNNConfig(width=16, depth=3)], ids=lambda body: type(body).__name__)
def test_layer_decay_gives_each_layer_of_trained_weights_its_rate(body: BodyConfig, tmp_path: Path) -> None:
    job = prepared(tmp_path, saved(tmp_path / "base", body), layer_decay=0.5, learning_rate=0.01)
    network = job.training.network
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = job.training.optimizer.build(network).param_groups
    peaks = {names[id(p)]: group["peak"] for group in groups for p in group["params"]}
    assert peaks.keys() == set(names.values())
    for name, peak in peaks.items():
        number = next((int(part) for part in name.split(".") if part.isdigit()), None)
        inner = 0.01 * 0.5 ** (3 - number) if number is not None else 0.01
        expected = {"head": 0.02, "embedding": 0.01 * 0.5**4}.get(name.split(".")[name.startswith("body.")], inner)
        assert peak == pytest.approx(expected), name


def test_layer_decay_is_said_once(base: Path, tmp_path: Path) -> None:
    same = prepared(tmp_path, base, layer_decay=0.5, optimizer="adamw:layer_decay=0.5")
    assert same.training.optimizer.layer_decay == 0.5
    with pytest.raises(InputError, match=r"--layer-decay 0\.5: --optimizer says layer_decay=0\.8; keep one of them"):
        prepared(tmp_path, base, layer_decay=0.5, optimizer="adamw:layer_decay=0.8")


HEADS: dict[str, HeadConfig] = {
    "language-model-head": LanguageModelHeadConfig(vocabulary_size=33),
    "pooled-head": PooledHeadConfig(outputs=7),
    "light-attention-head": LightAttentionHeadConfig(outputs=7),
    "position-head": PositionHeadConfig(outputs=7),
    "imprinted-head": ImprintedHeadConfig(outputs=7),
    "aligned-head": AlignedHeadConfig(outputs=7, length=40),
    "projection-head": ProjectionHeadConfig(),
}


@pytest.mark.parametrize("name", HEADS)
def test_every_kind_of_head_is_replaced_and_the_body_is_kept(name: str, tmp_path: Path) -> None:
    heard = Heard()
    job = prepare_finetuning(config(tmp_path, saved(tmp_path / "base", head=HEADS[name])), heard)
    network = job.training.network
    assert isinstance(network, Network) and network.head.config == PooledHeadConfig(outputs=4)
    assert f"{tmp_path / 'base'}: its {name} is left behind; a new pooled-head is trained" in heard.lines
    states = [network.body.state_dict(), build_again(HEADS[name]).state_dict()]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def build_again(head: HeadConfig) -> torch.nn.Module:
    """The body that :func:`saved` writes."""
    torch.manual_seed(0)
    body = build(TRANSFORMER, head).body
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return body


@pytest.mark.parametrize("head", ["pooled-head", "imprinted-head"])
def test_a_finetuned_run_lends_its_body_to_other_labels(head: str, base: Path, tmp_path: Path) -> None:
    finetune(config(tmp_path, base, head=head), Silent())
    heard = Heard()
    other = config(
        tmp_path, tmp_path / "run", output=str(tmp_path / "next"), table=str(table(tmp_path, "xy", name="xy.csv"))
    )
    finetune(other, heard)
    said = (
        f"{tmp_path / 'run'}: its {head} (4-class classification of label) is left behind; a new pooled-head is trained"
    )
    assert said in heard.lines
    classes = json.loads((tmp_path / "next/task.json").read_text())["task"]["classes"]
    assert classes == ["x", "y"]


@pytest.mark.parametrize("head", ["pooled-head:pooling=max", "imprinted-head", "light-attention-head"])
def test_a_kept_head_goes_on_where_it_was(head: str, base: Path, tmp_path: Path) -> None:
    finetune(config(tmp_path, base, head=head, long="crop", max_length=20), Silent())
    heard = Heard()
    job = prepare_finetuning(config(tmp_path, tmp_path / "run", keep_head=True), heard)
    assert f"{tmp_path / 'run'}: its {head.partition(':')[0]} is kept" in heard.lines
    before = load_run(tmp_path / "run").single.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in job.training.network.state_dict().items())


def test_a_head_of_other_labels_is_not_kept(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--keep-head: goes on with the head of a finetuned run; name one with --from"):
        prepared(tmp_path, base, keep_head=True)
    finetune(config(tmp_path, base), Silent())
    run = tmp_path / "run"
    with pytest.raises(InputError) as error:
        prepared(tmp_path, run, keep_head=True, table=str(table(tmp_path, "xy", name="xy.csv")))
    assert str(error.value) == (
        f"--keep-head: {run} learnt 4-class classification of label, and this is binary classification of label; "
        "classes, units and scaling must be the same; leave it out for a new head"
    )
    with pytest.raises(InputError, match="leave --head pooled-head out"):
        prepared(tmp_path, run, keep_head=True, head="pooled-head")
    by_other_loss = r"learnt by the loss cross-entropy, .* those of hinge do here; give the same --loss"
    with pytest.raises(InputError, match=by_other_loss):
        prepared(tmp_path, run, keep_head=True, loss="hinge")
    (run / "task.json").write_text("[]")
    with pytest.raises(InputError, match=r"task\.json: damaged"):
        prepared(tmp_path, run, keep_head=True)


def test_a_head_of_bins_is_kept_for_the_same_bins_only(base: Path, tmp_path: Path) -> None:
    numbers = {"target": ("worth",), "task": "regression"}
    finetune(config(tmp_path, base, loss="quantized:num_bins=2", **numbers), Silent())
    again = prepared(tmp_path, tmp_path / "run", keep_head=True, loss="quantized:num_bins=2", **numbers)
    assert isinstance(again.training.network, Network)
    with pytest.raises(InputError, match=r"by the loss quantized, .* give the same --loss"):
        prepared(tmp_path, tmp_path / "run", keep_head=True, loss="quantized:num_bins=3", **numbers)
