"""What a masked language model says of positions in a context: ln p of every standard letter, asked for in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.alphabet import PROTEIN, Alphabet
from seqtrain.batch import Batch
from seqtrain.encode import Tokens
from seqtrain.errors import InputError
from seqtrain.inference import InferenceConfig
from seqtrain.letters import PackedLetters
from seqtrain.models.heads import LanguageModelHead
from seqtrain.models.network import Network
from seqtrain.models.pretrained import load_body
from seqtrain.predict import load_run_or_model
from seqtrain.run import Run, settings_of_run
from seqtrain.training import autocast

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Query:
    """A stretch of letters, some of them masked, and the positions (from 0, increasing) that are asked for."""

    letters: bytes
    masked: tuple[int, ...]
    asked: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """A network with a language model head; call it with queries."""

    network: Network
    alphabet: Alphabet
    max_length: int
    """Letters of the longest window."""
    config: InferenceConfig

    def __call__(self, queries: Iterable[Query]) -> Iterator[Array]:
        """For each query, in order, (M, A): ln p in nats of the A standard letters at its M asked positions.

        The A probabilities add up to 1: what the network gives to other tokens, such as X or ``<mask>``, is left out.
        Queries are laid end to end in batches of so many tokens, and logits are computed at the asked positions only.
        """
        num_tokens, batch = 0, list[Query]()
        for query in queries:
            length = len(query.letters) + Tokens.num_special
            if batch and num_tokens + length > self.config.tokens_per_batch:
                yield from self._answers(batch)
                num_tokens, batch = 0, []
            batch.append(query)
            num_tokens += length
        if batch:
            yield from self._answers(batch)

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """(256,) the column of each letter in an answer; -1 for odd letters."""
        columns = np.full(256, -1)
        columns[self.alphabet.standard_letters] = np.arange(len(self.alphabet.standard_letters))
        return columns

    def _answers(self, queries: list[Query]) -> list[Array]:
        batch = self._batch(queries).to(self.config.device)
        was_training = self.network.training
        self.network.eval()
        try:
            # Not held open over batches: what asks for the next answer may be computing with gradients.
            with torch.inference_mode(), autocast(self.config.device, self.config.precision):
                logits = self.network(batch)
        finally:
            self.network.train(was_training)
        ids = torch.from_numpy(self.alphabet.vocabulary.lookup[self.alphabet.standard_letters].astype(np.int64))
        chosen = logits.float().cpu().double()[:, ids].log_softmax(1).numpy()
        return np.split(chosen, np.cumsum([len(query.asked) for query in queries])[:-1])

    def _batch(self, queries: list[Query]) -> Batch:
        packed = PackedLetters.from_sequences([np.frombuffer(query.letters, np.uint8) for query in queries])
        encoded = Tokens(self.alphabet)(packed)
        starts = (encoded.boundaries[:-1] + 1).tolist()
        masked = [start + place for start, query in zip(starts, queries, strict=True) for place in query.masked]
        asked = [start + place for start, query in zip(starts, queries, strict=True) for place in query.asked]
        encoded.inputs[masked] = self.alphabet.vocabulary.id("<mask>")
        letters = np.where(encoded.source >= 0, packed.letters[encoded.source], 0).astype(np.uint8)
        return Batch(
            inputs=torch.from_numpy(encoded.inputs),
            boundaries=torch.from_numpy(encoded.boundaries),
            letters=torch.from_numpy(letters),
            records=torch.arange(len(queries)),
            keys=torch.zeros(len(queries), dtype=torch.int64),
            decode=torch.tensor(asked),
        )


def load_language_model(folder: Path) -> Run:
    """A run of pretrain, or a folder with a published model, whose network has a language model head of its own.

    Raises:
        InputError: a finetuned run or an ensemble, which have no such head any more, a folder whose model came without
            one, and what :func:`seqtrain.predict.load_run_or_model` refuses.
    """
    run = load_run_or_model(folder)
    if run.task is not None:
        origin = settings_of_run(folder).get("init_from")
        base = f"the run it began with, {origin}," if origin else "a run of pretrain, or a folder of ESM-2,"
        raise InputError(
            f"{folder}: was finetuned ({run.task.words}) and has no language model head left; score with {base} instead"
        )
    if not isinstance(run.single.head, LanguageModelHead):
        raise InputError(
            f"{folder}: has no language model head, which says how probable letters are; first go on with it as "
            f"masked-lm: seqtrain pretrain FASTA --from {folder}"
        )
    if not (folder / "run.json").exists() and load_body(folder, PROTEIN.tokens).lm_head_state is None:
        raise InputError(
            f"{folder}: its weights hold no language model head; save the model with it (EsmForMaskedLM), "
            "or give a run of pretrain"
        )
    return run
