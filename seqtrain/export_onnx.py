"""A trained network as an ONNX file that needs nothing of seqtrain."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqtrain.errors import InputError, RunError
from seqtrain.export import FRAMING, Probe, checked_difference, longest_of, meaning, probes, replacing_files
from seqtrain.models.folding import folded
from seqtrain.models.heads import LanguageModelHead
from seqtrain.models.rectangular import Rectangular
from seqtrain.run import Run
from seqtrain.tasks import MultiLabel, Regression, Task

OPSET = 18
"""What torch's exporter writes without conversion; runtimes since 2023 read it."""
_LARGEST_FILE = 1_900_000_000
"""Bytes of weights that go into the file itself; protobuf ends at 2 GiB."""


class Answering(nn.Module):
    """A network on rectangles whose logits are followed by what they say."""

    mean: Tensor
    scale: Tensor
    temperature: Tensor

    def __init__(self, rectangular: Rectangular, task: Task | None) -> None:
        super().__init__()
        self.rectangular = rectangular
        self.task = task
        if isinstance(task, Regression):
            self.register_buffer("mean", torch.tensor(task.mean))
            self.register_buffer("scale", torch.tensor(task.scale))
        elif task is not None:
            self.register_buffer("temperature", torch.tensor(task.temperature or (1.0,)))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """The logits, and for a task the values as :meth:`seqtrain.tasks.Task.values` gives them, in float32.

        Args:
            input_ids: (B, L) int64
            attention_mask: (B, L) int64, 0 at padding.

        Returns:
            (B, L, K) or (B, K) each.
        """
        logits: Tensor = self.rectangular(input_ids, attention_mask)
        task = self.task
        if task is None:
            return (logits,)
        said = logits
        if task.trained_loss is not None:
            said = task.trained_loss.value(logits.flatten(0, -2)).view(*logits.shape[:-1], -1)
        if isinstance(task, Regression):
            return logits, said * self.scale + self.mean
        said = said / self.temperature
        return logits, said.sigmoid() if isinstance(task, MultiLabel) else said.softmax(dim=-1)


def write_onnx(run: Run, target: Path) -> float:
    """Write a run as ONNX, with a second file beside it for weights beyond 2 GB, and check it with onnxruntime.

    Batch norms are folded into the layers before them.

    Returns:
        The largest difference to the network on random sequences.

    Raises:
        InputError: the extra is missing, or a folder that is not writable.
        RunError: the file does not give what the network gives, or the disk is full.
    """
    _require_onnx()
    ids = [run.alphabet.vocabulary.id(token) for token in FRAMING]
    answering = Answering(Rectangular(folded(run.single), ids), run.task).eval()
    with replacing_files(target) as folder:
        path = folder / target.name
        _convert(answering, path, _about(run, answering))
        return _largest_difference(path, run)


def _require_onnx() -> None:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f'--to onnx needs {error.name}; run pip install "seqtrain[onnx]"') from None
    onnxruntime.set_default_logger_severity(3)


def _convert(answering: Answering, path: Path, about: Mapping[str, str]) -> None:
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    # Lengths that are no multiple of each other, so that no equality of the example is taken for a rule.
    example = torch.full((3, 7), 4), torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] * 5 + [0] * 2])
    names = ["logits"] if answering.task is None else ["logits", "values"]
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            answering,
            example,
            dynamo=True,
            dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
            input_names=["input_ids", "attention_mask"],
            output_names=names,
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None
        _forget_sources(program.model)
        program.model.producer_name = "seqtrain"
        program.model.metadata_props.update(about)
        num_bytes = sum(tensor.nbytes for tensor in answering.state_dict().values())
        program.save(path, external_data=num_bytes > _LARGEST_FILE)


def _forget_sources(model: Any) -> None:
    """Without the lines of code that each node came from: they hold paths of this machine."""
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()


def _about(run: Run, answering: Answering) -> dict[str, str]:
    """The metadata: what :func:`seqtrain.export.meaning` tells, and what the outputs are."""
    where = "position" if answering.rectangular.per_position else "sequence"
    about = {**meaning(run), "inputs": "input_ids: <cls>, letters, <eos>, <pad> …; attention_mask: 0 at <pad>"}
    if run.task is None and isinstance(run.single.head, LanguageModelHead):
        return about | {"logits": "of each token at each position", "tokens": json.dumps(run.alphabet.tokens)}
    if run.task is None:
        return about | {"logits": "what the objective of the pretraining compares, for each sequence; no labels"}
    task = run.task
    names = task.columns if isinstance(task, Regression) else task.classes
    kind = "numbers in the units of the labels" if isinstance(task, Regression) else "probabilities"
    return about | {
        "logits": f"of the network for each {where}",
        "values": f"{kind} for each {where}",
        "names": json.dumps(names),
    }


def _largest_difference(path: Path, run: Run) -> float:
    """Between the file in onnxruntime and the network itself, on packed sequences.

    Raises:
        RunError: it is too large, or onnxruntime does not take the file.
    """
    worst = 0.0
    for probe, outputs in _answers(path, run):
        with torch.inference_mode():
            expected = [run.single(probe.batch)]
        if run.task is not None:
            expected.append(torch.from_numpy(run.task.values(expected[0].numpy())))
        for given, wanted in zip(outputs, expected, strict=True):
            worst = max(worst, checked_difference(path.name, probe.packed(given), wanted))
    return worst


def _answers(path: Path, run: Run) -> Iterator[tuple[Probe, list[Tensor]]]:
    """Random sequences, and what onnxruntime gives for them."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for probe in probes(run.alphabet, longest_of(run.single)):
            feed = {"input_ids": probe.input_ids.numpy(), "attention_mask": probe.real.long().numpy()}
            yield probe, [torch.from_numpy(np.asarray(output)) for output in session.run(None, feed)]
    except RunError:
        raise
    except Exception as error:  # what onnxruntime raises has no base class of its own
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{path.name}: onnxruntime refuses it ({reason}); please report it") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages and names, which tell a user nothing."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
