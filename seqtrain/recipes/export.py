"""Writing a trained network for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seqtrain.errors import InputError
from seqtrain.export import write_safetensors
from seqtrain.fitting import Listener
from seqtrain.models.decoder_head import DecoderHead
from seqtrain.models.heads import LanguageModelHead
from seqtrain.recipes.networks import describe
from seqtrain.run import Run, load_run

Form = Literal["huggingface", "onnx", "safetensors"]


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What is written, and where."""

    run: str
    to: Form
    output: Path
    overwrite: bool = False
    """Replace what an earlier export left there."""


def export_run(config: ExportConfig, listener: Listener) -> None:
    """Write the network of a finished run in another form, and check that it gives the same numbers.

    Raises:
        InputError: an unfinished run, an output that exists, a network without such a form, or a missing extra.
        RunError: the export does not give what the network gives, or the disk is full.
    """
    _check_output(config)
    run = load_run(Path(config.run))
    description = describe(run.single)
    listener.say(f"{run.folder}: {description}")
    if _is_pretrained_body(run):
        listener.say(
            "pretrained without a language model head: finetune it (--from), embed with it, or continue it with "
            "seqtrain pretrain --from; by itself it predicts no labels and scores no letters"
        )
    write = {"huggingface": _to_huggingface, "onnx": _to_onnx, "safetensors": _to_safetensors}[config.to]
    listener.say(f"wrote {config.output}: {write(run, config.output, description)}")


def _is_pretrained_body(run: Run) -> bool:
    """Whether nothing but the body is of use to others: a run without labels whose head is no language model's."""
    return run.task is None and not isinstance(run.single.head, LanguageModelHead)


def _to_huggingface(run: Run, output: Path, description: str) -> str:
    from seqtrain.export_huggingface import LANGUAGE_MODEL, loader_of, write_huggingface

    difference = write_huggingface(run, output, description)
    loader = loader_of(run.single)
    what = f"a language model for {loader}"
    if loader != LANGUAGE_MODEL:
        use = "it was for the pretraining" if _is_pretrained_body(run) else "predict with seqtrain or an ONNX export"
        what = f"the body, for {loader}; its head has no place in transformers: {use}"
    return f"{what} (largest difference {difference:.1e})"


def _to_onnx(run: Run, output: Path, description: str) -> str:
    from seqtrain.export_onnx import OPSET, write_onnx

    if isinstance(run.single.head, DecoderHead):
        raise InputError(
            f"{run.folder}: its decoder answers for letters that the body was not shown, which an ONNX file cannot "
            "hide; finetune it first, or take the body with --to huggingface"
        )
    return f"opset {OPSET}, largest difference in onnxruntime {write_onnx(run, output):.1e}"


def _to_safetensors(run: Run, output: Path, description: str) -> str:
    return f"{write_safetensors(run, output)} tensors, their configuration in the metadata"


def _check_output(config: ExportConfig) -> None:
    output, folder = config.output, Path(config.run)
    if output.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"-o {output}: lies in the run directory, which is left as it is; choose another -o")
    if not output.exists():
        return
    if not config.overwrite:
        raise InputError(f"-o {output}: exists; choose another -o, or pass --overwrite to replace it")
    if output.is_dir() != (config.to == "huggingface"):
        kind, wanted = ("folder", "file") if output.is_dir() else ("file", "folder")
        raise InputError(f"-o {output}: is a {kind} where --to {config.to} writes a {wanted}; choose another -o")
    if output.is_dir() and not (output / "config.json").exists() and any(output.iterdir()):
        raise InputError(f"-o {output}: holds files but no model; --overwrite would not touch it, choose another -o")
