"""Predicting with a run: one row out for every record in, in the order they came, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.alphabet import Alphabet
from seqtrain.batch import Batch
from seqtrain.batching import Examples
from seqtrain.encode import Tokens
from seqtrain.errors import InputError
from seqtrain.inference import InferenceConfig, embeddings, residue_outputs, sequence_outputs
from seqtrain.io.records import Record
from seqtrain.io.store import SequenceStore
from seqtrain.models.network import Network
from seqtrain.run import Run
from seqtrain.spans import Spans
from seqtrain.tasks import Task

_CHUNK_RECORDS = 2048
_CHUNK_LETTERS = 500_000


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A trained network with what is needed to ask it."""

    network: Network
    alphabet: Alphabet
    task: Task | None
    max_length: int
    config: InferenceConfig

    @classmethod
    def of_run(cls, run: Run, config: InferenceConfig) -> Predictor:
        """The predictor of a finished run, its weights moved to the device."""
        run.network.to(config.device)
        return cls(network=run.network, alphabet=run.alphabet, task=run.task, max_length=run.max_length, config=config)

    def predict(self, records: Iterable[Record]) -> Iterator[tuple[Record, list[str | float]]]:
        """Each record with its cells under the task's header; a record without letters gets empty cells.

        Raises:
            InputError: the run is a masked language model.
        """
        task = self.task
        if task is None:
            raise InputError("this run is a masked language model and has no labels; finetune it first, or use embed")
        for record, outputs in self.outputs(records):
            yield record, ([""] * len(task.header) if outputs is None else task.rows(outputs)[0])

    def outputs(self, records: Iterable[Record]) -> Iterator[tuple[Record, NDArray[np.float32] | None]]:
        """Each record with its logits, (1, K) or (L, K)."""
        assert self.task is not None
        per_residue = self.task.per_residue
        run = residue_outputs if per_residue else sequence_outputs
        return self._by_chunk(records, lambda examples: run(self.network, examples, self.config), per_residue)

    def embed(
        self, records: Iterable[Record], *, layer: int = -1, per_residue: bool = False
    ) -> Iterator[tuple[Record, NDArray[np.float32] | None]]:
        """Each record with the mean of its residues' hidden states, (1, D), or with all of them, (L, D).

        Args:
            layer: 0 for the token embeddings, 1 to the depth for the layers, -1 for the last one after its norm.
        """
        depth = self.network.body.config.depth
        if not -1 <= layer <= depth:
            raise InputError(f"--layer {layer}: this model has layers 0 to {depth}; -1 is the last one")

        def body(batch: Batch) -> torch.Tensor:
            if layer in (-1, depth):
                hidden: torch.Tensor = self.network.body(batch.inputs, batch.boundaries)
                return hidden
            return self.network.body.hidden_states(batch.inputs, batch.boundaries)[layer]

        return self._by_chunk(
            records,
            lambda examples: embeddings(self.network, examples, self.config, body, per_residue=per_residue),
            per_residue,
        )

    def _by_chunk(
        self, records: Iterable[Record], compute: Callable[[Examples], NDArray[np.float32]], per_residue: bool
    ) -> Iterator[tuple[Record, NDArray[np.float32] | None]]:
        for chunk in _chunks(records):
            whole = [record for record in chunk if len(record.letters)]
            results: Iterator[NDArray[np.float32]] = iter(())
            if whole:
                store = SequenceStore.in_memory(whole, self.alphabet)
                results = _cut(compute(self._examples(store)), store, per_residue)
            for record in chunk:
                yield record, (next(results) if len(record.letters) else None)

    def _examples(self, store: SequenceStore) -> Examples:
        everything = np.arange(len(store))
        return Examples(
            store=store, spans=Spans.windows(everything, store.lengths, self.max_length), encoder=Tokens(self.alphabet)
        )


def _cut(values: NDArray[np.float32], store: SequenceStore, per_residue: bool) -> Iterator[NDArray[np.float32]]:
    """The rows of each record: its letters' rows, or its one row."""
    for index in range(len(store)):
        yield values[store.offsets[index] : store.offsets[index + 1]] if per_residue else values[index : index + 1]


def _chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    letters = 0
    for record in records:
        chunk.append(record)
        letters += len(record.letters)
        if len(chunk) >= _CHUNK_RECORDS or letters >= _CHUNK_LETTERS:
            yield chunk
            chunk, letters = [], 0
    if chunk:
        yield chunk
