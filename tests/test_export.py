"""Exports give the network's numbers in other programs and say what they mean; one that does not is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file

from seqtrain import export_huggingface, export_onnx
from seqtrain.alphabet import CODON, PROTEIN, Alphabet
from seqtrain.batch import Batch
from seqtrain.errors import RunError
from seqtrain.export import TOLERANCE, checked_difference, letter_ids, probes, write_safetensors
from seqtrain.export_huggingface import write_huggingface
from seqtrain.export_onnx import OPSET, write_onnx
from seqtrain.losses import Quantized
from seqtrain.models.aligned_head import AlignedHeadConfig
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.heads import LanguageModelHead, LanguageModelHeadConfig, PooledHeadConfig, PositionHeadConfig
from seqtrain.models.light_attention import LightAttentionHeadConfig
from seqtrain.models.network import (
    BodyConfig,
    HeadConfig,
    Network,
    body_from_dict,
    build,
    head_from_dict,
    language_model_head,
)
from seqtrain.models.pretrained import load_body, start_network
from seqtrain.models.residual_cnn import ResidualCNNConfig
from seqtrain.models.transformer import Transformer, TransformerConfig
from seqtrain.models.unet import UNetConfig
from seqtrain.run import Run
from seqtrain.tasks import MultiLabel, Regression, ResidueClassification, Task
from tests.models.backbones import write_bert, write_t5
from tests.models.packs import shake

TRANSFORMER = TransformerConfig(width=16, depth=1, num_heads=2)
CONVOLUTIONAL = CNNConfig(width=16, depth=2, dilations=(1, 4))
RESIDUAL = ResidualCNNConfig(width=16, depth=2, stages=2, norm="batch", input="ngram", n=2)
LETTERS = [[1], [2], [40], [7, 7, 7], [3, 90, 1, 2, 25, 90], [1100, 4]]
"""Letters of the sequences of each batch; the example that is exported has 7 positions."""


def _run(body: BodyConfig, head: HeadConfig, task: Task | None = None) -> Run:
    torch.manual_seed(5)
    network = shake(build(body, head))
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.add_(torch.rand(buffer.shape))
    return Run(folder=Path("runs/x"), network=network, alphabet=PROTEIN, task=task, max_length=1022, columns={})


REGRESSION = Regression(columns=("heat", "pH"), mean=(60.0, 7.0), scale=(20.0, 0.5))
BINS = Quantized(num_bins=5).fitted(np.arange(20.0)[:, None])
RUNS: dict[str, Callable[[], Run]] = {
    "transformer, language model": lambda: _run(TRANSFORMER, LanguageModelHeadConfig()),
    "residual cnn, regression in bins": lambda: _run(
        RESIDUAL,
        LightAttentionHeadConfig(outputs=5),
        Regression(columns=("heat",), mean=(60.0,), scale=(20.0,), trained_loss=BINS),
    ),
    "gated, residues": lambda: _run(
        GatedTransformerConfig(width=32, depth=1, num_heads=2),
        PositionHeadConfig(outputs=3),
        ResidueClassification(columns=("s",), classes=("C", "E", "H"), temperature=(1.7,)),
    ),
    "u-net, labels": lambda: _run(
        UNetConfig(width=16, levels=1, norm="group"),
        PooledHeadConfig(outputs=3),
        MultiLabel(columns=("s",), classes=("x", "y", "z"), separator=";", temperature=(0.5, 1.3, 2.0)),
    ),
}
ALIGNED = AlignedHeadConfig(outputs=2, length=14)


@dataclass(frozen=True)
class Exported:
    run: Run
    path: Path
    session: Any

    def ask(self, input_ids: NDArray[np.int64], mask: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        names = [output.name for output in self.session.get_outputs()]
        values = self.session.run(names, {"input_ids": input_ids, "attention_mask": mask})
        return dict(zip(names, values, strict=True))


@pytest.fixture(scope="module", params=RUNS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("onnx") / "x.onnx"
    run = RUNS[request.param]()
    assert write_onnx(run, path) <= TOLERANCE
    torch.set_num_threads(threads)
    return Exported(run, path, onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]))


def _rectangle(letters: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(sum(letters))
    input_ids = np.full((len(letters), max(letters) + 2), 1)
    for row, count in zip(input_ids, letters, strict=True):
        row[0], row[count + 1] = 0, 2
        row[1 : count + 1] = rng.integers(3, 33, count)
    return input_ids, (input_ids != 1).astype(np.int64)


def _expected(run: Run, input_ids: NDArray[np.int64], mask: NDArray[np.int64]) -> list[NDArray[Any]]:
    """Logits of each sequence by itself, in seqtrain's own layout."""
    rows = []
    for row, real in zip(input_ids, mask.astype(bool), strict=True):
        ids = torch.from_numpy(row[real])
        batch = Batch(
            inputs=ids,
            boundaries=torch.tensor([0, len(ids)]),
            letters=torch.tensor([0, *[65] * (len(ids) - 2), 0], dtype=torch.uint8),
            records=torch.zeros(1, dtype=torch.int64),
            keys=torch.zeros(1, dtype=torch.int64),
        )
        with torch.no_grad():
            rows.append(run.network(batch).numpy())
    return rows


@pytest.mark.parametrize("letters", LETTERS, ids=str)
def test_onnxruntime_gives_the_numbers_of_the_network(exported: Exported, letters: list[int]) -> None:
    input_ids, mask = _rectangle(letters)
    outputs = exported.ask(input_ids, mask)
    task = exported.run.task
    for index, logits in enumerate(_expected(exported.run, input_ids, mask)):
        real = mask[index].astype(bool)
        given = outputs["logits"][index]
        given = given[real] if given.ndim == 2 else given[None]
        np.testing.assert_allclose(given, logits, atol=1e-4, rtol=0)
        if task is not None:
            said = outputs["values"][index]
            said = said[real] if said.ndim == 2 else said[None]
            np.testing.assert_allclose(said, task.values(logits), atol=1e-4, rtol=1e-5)


def test_the_file_says_what_its_numbers_mean(exported: Exported) -> None:
    model = onnx.load(exported.path)
    onnx.checker.check_model(model)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [OPSET]
    about = exported.session.get_modelmeta().custom_metadata_map
    assert json.loads(about["letters"])["A"] == 5 and json.loads(about["special"])["<mask>"] == 32
    assert about["alphabet"] == "protein" and about["max_length"] == "1022"
    task = exported.run.task
    if task is None:
        assert json.loads(about["task"]) == {"kind": "masked_lm"} and "names" not in about
        assert json.loads(about["tokens"]) == list(PROTEIN.tokens)
        return
    names = task.columns if isinstance(task, Regression) else task.classes
    assert json.loads(about["names"]) == list(names)
    assert len(names) == exported.ask(*_rectangle([4]))["values"].shape[-1]


def test_batch_norms_are_folded(exported: Exported) -> None:
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(exported.path).graph.node}


def test_the_file_tells_nothing_of_this_machine(exported: Exported) -> None:
    content = exported.path.read_bytes()
    assert b".py" not in content and str(Path.cwd()).encode() not in content


def test_a_file_that_gives_other_numbers_is_refused(exported: Exported) -> None:
    assert export_onnx._largest_difference(exported.path, exported.run) <= TOLERANCE
    bias = [parameter for name, parameter in exported.run.network.head.named_parameters() if name.endswith("bias")][-1]
    with torch.no_grad():
        bias.add_(0.01)
        with pytest.raises(RunError, match=r"differs from the network by .* more than"):
            export_onnx._largest_difference(exported.path, exported.run)
        bias.sub_(0.01)


def test_a_file_that_the_runtime_refuses_is_refused(exported: Exported, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(exported.path.read_bytes()[:2000])
    with pytest.raises(RunError, match=r"x\.onnx: onnxruntime refuses it"):
        export_onnx._largest_difference(path, exported.run)


def test_what_a_difference_may_be() -> None:
    small, large = torch.tensor([0.5, -0.5]), torch.tensor([100.0, -3.0])
    assert checked_difference("x", small + 5e-5, small) == pytest.approx(5e-5, rel=1e-2)
    assert checked_difference("x", large + 5e-3, large) == pytest.approx(5e-3, rel=1e-2)
    for given, expected in ((small + 2e-4, small), (large + 2e-2, large), (small * torch.nan, small)):
        with pytest.raises(RunError, match="more than"):
            checked_difference("x", given, expected)
    with pytest.raises(RunError, match=r"shape \(1,\)"):
        checked_difference("x", small[:1], small)


def test_probes_hold_the_same_sequences_in_both_layouts() -> None:
    sizes = set()
    for probe in probes(PROTEIN):
        assert torch.equal(probe.packed(probe.input_ids[..., None]).squeeze(-1), probe.batch.inputs)
        assert probe.batch.residues.sum() == probe.real.sum() - 2 * len(probe.batch)
        sizes.update(probe.batch.lengths.tolist())
    assert min(sizes) == 3 and max(sizes) > 300


def test_an_aligned_head_answers_up_to_its_last_position_and_fails_beyond(tmp_path: Path) -> None:
    run, path = _run(CONVOLUTIONAL, ALIGNED, REGRESSION), tmp_path / "x.onnx"
    assert write_onnx(run, path) <= TOLERANCE
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    exported = Exported(run, path, session)
    input_ids, mask = _rectangle([14, 3, 9])
    expected = np.concatenate(_expected(run, input_ids, mask))
    np.testing.assert_allclose(exported.ask(input_ids, mask)["logits"], expected, atol=1e-4, rtol=0)
    with pytest.raises(Exception, match="invalid indice"):
        exported.ask(*_rectangle([15, 3, 9]))


@pytest.mark.parametrize("alphabet", [PROTEIN, CODON], ids=lambda alphabet: alphabet.name)
def test_letters_have_the_ids_that_seqtrain_reads(alphabet: Alphabet) -> None:
    ids = letter_ids(alphabet)
    named = {token: index for index, token in enumerate(alphabet.tokens) if not token.startswith("<")}
    odd = {letter for letter in ids if letter not in named}
    assert {letter: index for letter, index in ids.items() if letter in named} == named
    assert odd == ({"J", "*"} if alphabet is PROTEIN else {"NNN"})
    assert {ids[letter] for letter in odd} == {alphabet.vocabulary.id("<unk>")}


@pytest.mark.parametrize("body", [TRANSFORMER, CONVOLUTIONAL], ids=lambda config: type(config).__name__)
def test_one_safetensors_file_rebuilds_the_network(body: BodyConfig, tmp_path: Path) -> None:
    run = _run(body, PooledHeadConfig(outputs=2), REGRESSION)
    path = tmp_path / "x.safetensors"
    assert write_safetensors(run, path) == len(run.network.state_dict())
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    network = build(body_from_dict(json.loads(about["body"])), head_from_dict(json.loads(about["head"]))).eval()
    network.load_state_dict(load_file(path))
    probe = next(probes(PROTEIN))
    with torch.no_grad():
        assert torch.equal(network(probe.batch), run.network(probe.batch))
    assert json.loads(about["task"])["mean"] == [60.0, 7.0]
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[[Network], Run]:
    """Runs of a network, with a record such as training leaves."""

    def make(network: Network) -> Run:
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        record = {"facts": {"kind": "x", "data a.csv": "0f"}, "environment": {"seqtrain": "1"}, "results": {}}
        (folder / "run.json").write_text(json.dumps(record))
        task = None if isinstance(network.head, LanguageModelHead) else REGRESSION
        return Run(folder=folder, network=network, alphabet=PROTEIN, task=task, max_length=100, columns={})

    return make


@pytest.mark.parametrize("write", [write_bert, write_t5])
def test_networks_of_others_go_back_to_their_layout(
    write: Callable[[Path], Any], run_of: Callable[[Network], Run], tmp_path: Path
) -> None:
    write(tmp_path / "theirs")
    network = start_network(load_body(tmp_path / "theirs", PROTEIN.tokens), PooledHeadConfig(outputs=2)).eval()
    assert write_huggingface(run_of(network), tmp_path / "x", "small") <= TOLERANCE
    loader = "AutoModel" if write is write_bert else "T5EncoderModel"
    assert f"{loader}.from_pretrained" in (tmp_path / "x/README.md").read_text(encoding="utf-8")


def test_a_gated_language_model_is_written_as_esm_c(run_of: Callable[[Network], Run], tmp_path: Path) -> None:
    body = GatedTransformerConfig(width=32, depth=2, num_heads=2)
    network = shake(build(body, language_model_head(body)))
    assert write_huggingface(run_of(network), tmp_path / "x", "small") <= TOLERANCE
    assert json.loads((tmp_path / "x/config.json").read_text())["model_type"] == "esmc"


def test_a_folder_with_other_numbers_is_refused(
    run_of: Callable[[Network], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = shake(build(TRANSFORMER, LanguageModelHeadConfig()))
    original = export_huggingface.save_body

    def save_another(folder: Path, body: Transformer, *rest: Any) -> None:
        original(folder, shake(copy.deepcopy(body)), *rest)

    monkeypatch.setattr(export_huggingface, "save_body", save_another)
    with pytest.raises(RunError, match="differs from the network by"):
        write_huggingface(run_of(network), tmp_path / "x", "small")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_large_weights_go_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_onnx, "_LARGEST_FILE", 0)
    run = _run(CONVOLUTIONAL, PositionHeadConfig(outputs=3))
    write_onnx(run, tmp_path / "deep" / "x.onnx")
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["x.onnx", "x.onnx.data"]
    assert export_onnx._largest_difference(tmp_path / "deep/x.onnx", run) <= TOLERANCE
