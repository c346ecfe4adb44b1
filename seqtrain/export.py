"""What all exports of a run have in common: what they say of themselves, how they are checked and written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from seqtrain.alphabet import CODONS, Alphabet
from seqtrain.batch import Batch
from seqtrain.errors import InputError, RunError
from seqtrain.models.aligned_head import AlignedHead
from seqtrain.models.backbone import BackboneConfig
from seqtrain.models.network import Network, to_dict
from seqtrain.run import Run, kind_without_task
from seqtrain.task_file import task_to_json

TOLERANCE = 1e-4
"""Largest difference to the network that an export may have, times the largest number where that is above 1."""
FRAMING = ("<cls>", "<pad>", "<eos>")
"""Tokens that stand for no letter."""
_PROBED_LENGTHS = ((1,), (1, 9), (30, 3, 17, 30, 2), (64, 1, 130), (300,))


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Random sequences in both layouts: packed, as seqtrain computes, and in a rectangle, as others do."""

    batch: Batch
    input_ids: Tensor
    """(B, L) int64, padded on the right."""
    real: Tensor
    """(B, L) bool, False at padding."""

    def packed(self, outputs: Tensor) -> Tensor:
        """Outputs of the rectangle, (B, L, K) -> (T, K) without padding, or (B, K) as they are."""
        return outputs[self.real] if outputs.dim() == 3 else outputs


def probes(alphabet: Alphabet, longest: int | None = None) -> Iterator[Probe]:
    """Several probes, of one sequence and more, of one letter and more; the same ones every time.

    Args:
        longest: positions that the network has embeddings or weights for; None for no limit.
    """
    framing = [alphabet.vocabulary.id(token) for token in FRAMING]
    cls, pad, eos = framing
    letters = torch.tensor([index for index in range(len(alphabet.tokens)) if index not in framing])
    generator = torch.Generator().manual_seed(0)
    for most in _PROBED_LENGTHS:
        lengths = [length if longest is None else min(length, longest - 2) for length in most]
        input_ids = torch.full((len(lengths), max(lengths) + 2), pad)
        for row, length in zip(input_ids, lengths, strict=True):
            row[0], row[length + 1] = cls, eos
            row[1 : length + 1] = letters[torch.randint(len(letters), (length,), generator=generator)]
        real = torch.arange(input_ids.shape[1]) < torch.tensor(lengths)[:, None] + 2
        inputs = input_ids[real]
        yield Probe(
            batch=Batch(
                inputs=inputs,
                boundaries=torch.cat((torch.zeros(1, dtype=torch.int64), real.sum(dim=1).cumsum(0))),
                letters=(~torch.isin(inputs, torch.tensor(framing))).to(torch.uint8),
                records=torch.arange(len(lengths)),
                keys=torch.zeros(len(lengths), dtype=torch.int64),
            ),
            input_ids=input_ids,
            real=real,
        )


def longest_of(network: Network) -> int | None:
    """Positions that a network has embeddings or weights for; None where there is no limit."""
    limits = []
    if isinstance(network.body.config, BackboneConfig) and network.body.config.longest is not None:
        limits.append(network.body.config.longest)
    if isinstance(network.head, AlignedHead):
        limits.append(network.head.config.length + 2)  # with the special tokens, which have no weights there
    return min(limits, default=None)


def checked_difference(what: str, given: Tensor, expected: Tensor) -> float:
    """The largest difference between what an export gives and what the network does, shapes alike.

    Raises:
        RunError: it is beyond :data:`TOLERANCE`, or the shapes differ.
    """
    if given.shape != expected.shape:
        raise RunError(
            f"{what}: shape {tuple(given.shape)} where the network gives {tuple(expected.shape)}; please report it"
        )
    difference = float((given.double() - expected.double()).abs().max())
    allowed = TOLERANCE * max(1.0, float(expected.abs().max()))
    if not difference <= allowed:
        found = f"differs from the network by {difference:.1e}, more than {allowed:.1e}"
        raise RunError(f"{what}: {found}; please report it")
    return difference


def meaning(run: Run) -> dict[str, str]:
    """What somebody without seqtrain has to know of a network, as texts; lists and tables are JSON."""
    special = {token: run.alphabet.vocabulary.id(token) for token in (*FRAMING, "<unk>", "<mask>")}
    return {
        "seqtrain": version("seqtrain"),
        "alphabet": run.alphabet.name,
        "letters": json.dumps(letter_ids(run.alphabet)),
        "special": json.dumps(special),
        "max_length": str(run.max_length),
        "task": json.dumps({"kind": kind_without_task(run.single)} if run.task is None else task_to_json(run.task)),
    }


def letter_ids(alphabet: Alphabet) -> dict[str, int]:
    """The id of every letter (for codons: of three bases) that seqtrain reads."""
    if alphabet.bases_per_letter == 3:
        texts: tuple[str, ...] = (*CODONS, "NNN")
    else:
        texts = tuple(alphabet.accepted.decode())
    return {text: int(alphabet.vocabulary.lookup[alphabet.pack(text.encode())[0]]) for text in texts}


def write_safetensors(run: Run, target: Path) -> int:
    """Write the whole network as one file whose metadata tell how to build and use it; how many tensors it has.

    Raises:
        InputError: the folder is not writable.
        RunError: the disk is full.
    """
    network = run.single
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    metadata = {
        "format": "pt",
        "body": json.dumps(to_dict(network.body.config)),
        "head": json.dumps(to_dict(network.head.config)),
        **meaning(run),
    }
    with replacing_files(target) as folder:
        path = folder / target.name
        path.touch()
        mode = path.stat().st_mode
        save_file(state, path, metadata=metadata)
        path.chmod(mode)  # safetensors leaves its files closed to everybody but their owner
    return len(state)


@contextmanager
def replacing_files(target: Path) -> Iterator[Path]:
    """A folder to write files into that move beside the target, replacing files there, only when the block ends well.

    Raises:
        InputError: the folder of the target is not writable.
        RunError: the disk is full, or another fault of the disk.
    """
    folder = target.with_name(f".{target.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror}); choose another -o") from error
    try:
        yield folder
        for path in sorted(folder.iterdir()):
            path.replace(target.parent / path.name)
    except (OSError, SafetensorError) as error:
        cause = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RunError(f"{target}: cannot be written: {cause}; free some space, or write elsewhere") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
