"""Predicting with a run: one row out for every record in, in the order they came, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.alphabet import PROTEIN, Alphabet
from seqtrain.batch import Batch
from seqtrain.batching import Examples
from seqtrain.device import choose_device, choose_precision
from seqtrain.encode import Tokens
from seqtrain.errors import InputError
from seqtrain.inference import InferenceConfig, Pooling, embeddings, residue_outputs, sequence_outputs
from seqtrain.io.records import Record
from seqtrain.io.store import SequenceStore
from seqtrain.mc_dropout import NUM_SAMPLES, sampled_outputs
from seqtrain.models.ensemble import Ensemble, single
from seqtrain.models.network import Network
from seqtrain.models.pretrained import load_body, start_network
from seqtrain.run import Run, load_run
from seqtrain.spans import Spans
from seqtrain.tasks import Task
from seqtrain.texts import pack_texts

MODEL_LETTERS = 1022
"""Letters per window of a model that comes without a run: what ESM-2 was trained on (Lin et al. 2023)."""
_CHUNK_RECORDS = 2048
_CHUNK_LETTERS = 500_000


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A trained network with what is needed to ask it."""

    network: Network | Ensemble
    alphabet: Alphabet
    task: Task | None
    max_length: int
    config: InferenceConfig

    @classmethod
    def of_run(cls, run: Run, config: InferenceConfig) -> Predictor:
        """The predictor of a finished run, its weights moved to the device."""
        run.network.to(config.device)
        return cls(network=run.network, alphabet=run.alphabet, task=run.task, max_length=run.max_length, config=config)

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str = "auto", precision: Literal["auto", "fp32", "bf16"] = "auto"
    ) -> Predictor:
        """The predictor of a folder, see :func:`load_run_or_model`.

        Raises:
            InputError: what cannot be loaded, or a device that is not there.
        """
        where = choose_device(device)[0]
        config = InferenceConfig(device=where, precision=choose_precision(precision, where))
        return cls.of_run(load_run_or_model(Path(folder)), config)

    def predict(self, records: Iterable[Record]) -> Iterator[tuple[Record, list[str | float]]]:
        """Each record with its cells under the task's header; a record without letters gets empty cells.

        Raises:
            InputError: the run was pretrained without labels.
        """
        task = self.task
        if task is None:
            raise InputError(
                "this run was pretrained without labels and predicts none; finetune it first, or use embed"
            )
        for record, outputs in self.outputs(records):
            yield record, ([""] * len(task.header) if outputs is None else task.rows(outputs)[0])

    def outputs(self, records: Iterable[Record]) -> Iterator[tuple[Record, NDArray[np.float32] | None]]:
        """Each record with its logits, (1, K) or (L, K)."""
        assert self.task is not None
        per_residue = self.task.per_residue
        run = residue_outputs if per_residue else sequence_outputs
        return self._by_chunk(records, lambda examples: run(self.network, examples, self.config), per_residue)

    def answers(
        self, records: Iterable[Record], *, num_samples: int = NUM_SAMPLES
    ) -> Iterator[tuple[Record, NDArray[np.float32] | None]]:
        """Each record with the logits of several answers, (S, 1, K) or (S, L, K); None for one without letters.

        They are those of the members of an ensemble, else as many as asked for of the network with its dropout on (see
        :mod:`seqtrain.mc_dropout`), which is to have some.
        """
        assert self.task is not None
        per_residue = self.task.per_residue
        run = residue_outputs if per_residue else sequence_outputs
        for chunk in _chunks(records):
            whole = [record for record in chunk if len(record.letters)]
            found: Iterator[NDArray[np.float32]] = iter(())
            if whole:
                store = SequenceStore.in_memory(whole, self.alphabet)
                examples = replace(self._examples(store), per_residue=per_residue)
                if isinstance(self.network, Ensemble):
                    members = [run(member, examples, self.config) for member in self.network.members]
                    found = (np.stack(one) for one in zip(*(_cut(m, store, per_residue) for m in members), strict=True))
                else:
                    found = sampled_outputs(self.network, examples, self.config, num_samples)
            for record in chunk:
                yield record, (next(found) if len(record.letters) else None)

    def embed(
        self, records: Iterable[Record], *, layers: Sequence[int] = (-1,), pooling: Pooling = "mean"
    ) -> Iterator[tuple[Record, NDArray[np.float32] | None]]:
        """Each record with its embedding (1, D), or with pooling "none" one vector per residue, (L, D).

        Special tokens are left out. A record without letters gets None. Memory does not grow with the records.

        Args:
            layers: 0 for the token embeddings, 1 to the depth for the output of each layer, the last one after its
                norm; negative ones count from the end. Nothing above the highest is computed, but by BERT and T5. The
                vectors of several layers stand side by side in a row, which is as wide as all of them together.
            pooling: mean or max over the residues, or none.

        Raises:
            InputError: a layer that the model does not have.
        """
        body = self._hidden(self.layer_numbers(layers))
        return self._by_chunk(
            records,
            lambda examples: embeddings(self.network, examples, self.config, body, pooling),
            pooling == "none",
        )

    def embed_texts(
        self, texts: Sequence[str], *, layers: Sequence[int] = (-1,), pooling: Pooling = "mean"
    ) -> list[NDArray[np.float32]]:
        """The embeddings of strings, see :meth:`embed`: of each (D,), or with pooling "none" (L, D).

        An empty string gets nan, or no rows.

        Raises:
            InputError: a layer that the model does not have, or what :func:`seqtrain.texts.pack_texts` refuses.
        """
        packed = pack_texts(self.alphabet, texts)
        records = (Record(str(i), packed[i], "", "") for i in range(len(packed)))
        per_residue, width = pooling == "none", self.embedding_width(layers)
        nothing = np.full((0, width) if per_residue else width, np.nan, np.float32)
        found = self.embed(records, layers=layers, pooling=pooling)
        return [nothing if rows is None else rows if per_residue else rows[0] for _, rows in found]

    def layer_numbers(self, layers: Sequence[int]) -> tuple[int, ...]:
        """Layers as they were asked for -> from 0 to the depth.

        Raises:
            InputError: a layer that the model does not have, one named twice, or none.
        """
        depth = single(self.network).body.config.depth
        for layer in layers:
            if not -depth - 1 <= layer <= depth:
                raise InputError(f"--layer {layer}: this model has layers 0 to {depth}; -1 is the last one")
        numbers = tuple(layer % (depth + 1) for layer in layers)
        if len(set(numbers)) < max(1, len(numbers)):
            raise InputError(f"--layer {', '.join(map(str, layers))}: name at least one layer, and none of them twice")
        return numbers

    def embedding_width(self, layers: Sequence[int] = (-1,)) -> int:
        """D of the embeddings of some layers, found by computing one of a single letter."""
        letter = Record(
            "", self.alphabet.pack(self.alphabet.standard[: self.alphabet.bases_per_letter].encode()), "", ""
        )
        ((_, vectors),) = self.embed([letter], layers=layers)
        assert vectors is not None
        return int(vectors.shape[1])

    def _hidden(self, layers: tuple[int, ...]) -> Callable[[Batch], torch.Tensor]:
        """What gives a batch's hidden states (T, D) at these layers, side by side."""
        body = single(self.network).body

        def compute(batch: Batch) -> torch.Tensor:
            if layers == (body.config.depth,):
                # Without keeping what the layers below it gave.
                hidden: torch.Tensor = body(batch.inputs, batch.boundaries)
                return hidden
            states = body.hidden_states(batch.inputs, batch.boundaries, max(layers))
            return torch.cat([states[layer].float() for layer in layers], dim=1)

        return compute

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


def load_run_or_model(folder: Path) -> Run:
    """A finished run, or a folder with nothing but a model of proteins, such as a published ESM-2.

    The latter is read as a run of a masked language model on windows of 1,022 letters, as ESM-2 was trained on.

    Raises:
        InputError: neither of the two, an unfinished run, or a model that cannot be used.
    """
    if (folder / "run.json").exists() or not (folder / "config.json").exists():
        return load_run(folder)
    loaded = load_body(folder, PROTEIN.tokens)
    network = start_network(loaded, loaded.lm_head_config).eval()
    return Run(folder=folder, network=network, alphabet=PROTEIN, task=None, max_length=MODEL_LETTERS, columns={})


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
