"""What a teacher says of inputs that never change, asked once: of records without augmentation, or kept on disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqtrain.batch import Batch
from seqtrain.batching import Examples
from seqtrain.draws import GOLDEN, mix
from seqtrain.errors import RunError
from seqtrain.inference import InferenceConfig, evaluation_batches, sequence_outputs
from seqtrain.io.run_directory import replacing_folder
from seqtrain.recipes.teachers import Teacher

_FOLDER = "teacher"
_FACTS = "facts.json"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a teacher says of inputs, looked up."""

    keys: NDArray[np.int64]
    """(U,) increasing, of each input."""
    starts: NDArray[np.int64]
    """(U,) the first row of each in ``rows``."""
    rows: NDArray[np.float32]
    """(R, K) one per input, or one per position of each."""
    of: Literal["inputs", "records"]
    """What keys are made of: all ids of an input, so that no other one is answered, or the index of its record."""
    per_position: bool = False
    """Each input has as many rows as positions."""

    def __call__(self, batch: Batch) -> Tensor:
        """(B, K), or (T, K) where there is one per position.

        Raises:
            RunError: an input that the teacher was not asked about.
        """
        keys = (input_keys(batch) if self.of == "inputs" else batch.records).cpu().numpy()
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        unknown = np.flatnonzero(self.keys[places] != keys)
        if len(unknown):
            raise RunError(
                f"record {int(batch.records[unknown[0]])}: the teacher was not asked about this input; pass "
                "--overwrite to start anew, and report this as a bug if it happens again"
            )
        starts = self.starts[places]
        if self.per_position:
            lengths = batch.lengths.cpu().numpy()
            before = np.cumsum(lengths) - lengths
            starts = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
        return torch.from_numpy(np.asarray(self.rows[starts])).to(batch.inputs.device)


def input_keys(batch: Batch) -> Tensor:
    """(B,) int64: a hash of the ids of each sequence and of their places.

    That any two of a million different inputs share one has a chance of 3 · 10^-8.
    """
    each = mix(batch.inputs + batch.positions * GOLDEN)
    sums = torch.zeros(len(batch), dtype=torch.int64, device=each.device).index_add_(0, batch.segments, each)
    hashes: Tensor = mix(sums + batch.lengths)
    return hashes


def answers_of_inputs(teacher: Teacher, examples: Examples, config: InferenceConfig) -> Answers:
    """What a teacher says of every example as it is, without augmentation; of residues, of every position."""
    keys, counts, rows, per_position = [], [], [], False
    plain = replace(examples, augmenter=None, mixing=None, length_at=None)
    for batch in evaluation_batches(plain, config.tokens_per_batch):
        said = teacher(batch.to(config.device)).cpu().numpy()
        per_position = len(said) == len(batch.inputs)
        keys.append(input_keys(batch).numpy())
        counts.append(batch.lengths.numpy() if per_position else np.ones(len(batch), np.int64))
        rows.append(said)
    all_keys, all_counts = np.concatenate(keys), np.concatenate(counts)
    # Equal sequences have equal keys, and the first of them answers for all.
    known, first = np.unique(all_keys, return_index=True)
    starts = (np.cumsum(all_counts) - all_counts)[first]
    return Answers(keys=known, starts=starts, rows=np.concatenate(rows), of="inputs", per_position=per_position)


def answers_of_records(teacher: Teacher, examples: Examples, config: InferenceConfig) -> Answers:
    """What a teacher says of each whole record without augmentation, the mean over its windows if there are several."""
    plain = replace(examples, augmenter=None, mixing=None, length_at=None)
    rows = sequence_outputs(teacher, plain, config)
    everything = np.arange(len(rows))
    return Answers(keys=everything, starts=everything, rows=rows, of="records")


def save_answers(answers: Answers, run: Path, facts: dict[str, Any]) -> None:
    """Write answers into a run directory, whole or not at all.

    Raises:
        RunError: the disk is full.
    """
    with replacing_folder(run / _FOLDER) as folder:
        np.save(folder / "keys.npy", answers.keys)
        np.save(folder / "starts.npy", answers.starts)
        np.save(folder / "rows.npy", answers.rows)
        written = {"per_position": answers.per_position, "of": answers.of, **facts}
        (folder / _FACTS).write_text(json.dumps(written, indent=1), encoding="utf-8")


def saved_answers(run: Path, facts: dict[str, Any]) -> Answers | None:
    """The answers in a run directory, if they are there and are those of the same teacher to the same inputs."""
    folder = run / _FOLDER
    try:
        written = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        per_position, of = bool(written.pop("per_position")), written.pop("of")
        if written != json.loads(json.dumps(facts)):
            return None
        keys, starts, rows = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("keys", "starts", "rows")
        )
    except (OSError, ValueError, KeyError, AttributeError, EOFError):
        return None
    # Keys are searched at every step; the rows may be many, and stay on the disk.
    return Answers(keys=np.array(keys), starts=np.array(starts), rows=rows, of=of, per_position=per_position)


def digest_of_inputs(examples: Examples) -> str:
    """SHA-256 of the letters and of the stretches of them that are read."""
    spans, digest = examples.spans, hashlib.sha256()
    for values in (examples.store.letters, examples.store.offsets, spans.records, spans.starts, spans.stops):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
