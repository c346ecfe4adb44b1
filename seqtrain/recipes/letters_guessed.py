"""Which hidden letters a pretrained network guesses, and for which it takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from seqtrain.alphabet import PROTEIN, Alphabet
from seqtrain.augment.log_odds import scores_over
from seqtrain.batch import Batch
from seqtrain.config import PretrainConfig
from seqtrain.draws import Draws, fold, permuted
from seqtrain.evaluation.metrics import spearman
from seqtrain.fitting import Training
from seqtrain.inference import evaluation_batches, tokens_per_batch
from seqtrain.objectives import Objective, Score, SelfSupervised
from seqtrain.objectives.objective import Judged
from seqtrain.recipes.corpus import Corpus
from seqtrain.recipes.pretraining import held_out_examples
from seqtrain.report.records import Confusion, Section, Table
from seqtrain.training import mean_score

MAX_LETTERS = 200_000
"""Of held-out sequences, of which about a seventh is hidden; enough for a rare letter, and seconds on a CPU."""
_LEAST_MISTAKES = 2_000
"""To compare 190 pairs of letters with a matrix."""


@dataclass(frozen=True, kw_only=True)
class LettersGuessed:
    """Counts over the A standard letters of an alphabet."""

    alphabet: Alphabet
    counts: NDArray[np.int64]
    """(A, A): hidden letters (rows) by what was guessed (columns), in the order of their ids."""
    nats: NDArray[np.float64]
    """(A,) sum of the losses of each hidden letter; what is guessed beside the standard letters is in here, too."""
    hidden: NDArray[np.int64]
    """(A,) how often each was hidden."""

    @property
    def letters(self) -> tuple[str, ...]:
        """(A,) as they are written."""
        return tuple(self.alphabet.vocabulary.tokens[i] for i in self.alphabet.standard_ids)

    def likeness_to(self, matrix: str) -> float:
        """Spearman correlation, over the pairs of letters, of how readily they are taken for each other with a matrix.

        How readily: the logarithm of the mistakes, in either direction, over those expected if what is hidden and what
        is guessed were independent; half a mistake is added to both.
        """
        order = [self.alphabet.standard.index(letter) for letter in self.letters]
        scores = scores_over(matrix, self.alphabet)[np.ix_(order, order)]
        wrong = self.counts.astype(np.float64)
        np.fill_diagonal(wrong, 0)
        expected = np.outer(wrong.sum(axis=1), wrong.sum(axis=0)) / max(wrong.sum(), 1)
        pairs = np.triu_indices(len(order), 1)
        odds = np.log((wrong + wrong.T)[pairs] + 0.5) - np.log((expected + expected.T)[pairs] + 0.5)
        return spearman(scores[pairs], odds)


def letters_guessed(training: Training, corpus: Corpus, config: PretrainConfig) -> LettersGuessed | None:
    """Mask held-out sequences as the evaluation does, at most 200,000 letters of them, and count the guesses.

    Returns:
        None where the objective hides no letters, or nothing is held out.
    """
    objective, alphabet = training.objective, corpus.store.alphabet
    if not isinstance(objective, SelfSupervised) or not objective.predicts_letters or not len(corpus.valid):
        return None
    asked = objective.at_evaluation() if isinstance(objective, Judged) else objective
    order = permuted(np.arange(len(corpus.valid)), len(corpus.valid), fold(config.seed, "letters guessed"))
    records = corpus.valid[order]
    kept = np.cumsum(corpus.valid_store.lengths[records]) <= MAX_LETTERS
    kept[0] = True
    examples = held_out_examples(corpus, np.sort(records[kept]), training.examples, config)
    tally = _Tally(asked, len(alphabet.vocabulary), training.loop.device)
    tokens_at_once = tokens_per_batch(training.loop.device, training.loop.precision)
    mean_score(training.network, tally, evaluation_batches(examples, tokens_at_once), training.loop)
    ids = alphabet.standard_ids
    counts, nats = tally.counts.cpu().numpy(), tally.nats.cpu().numpy()
    return LettersGuessed(
        alphabet=alphabet, counts=counts[np.ix_(ids, ids)], nats=nats[ids], hidden=counts[ids].sum(axis=1)
    )


class _Tally:
    """An objective that keeps count of the letters it scores."""

    separable = True

    def __init__(self, objective: Objective, num_ids: int, device: torch.device) -> None:
        self.objective = objective
        self.counts = torch.zeros(num_ids, num_ids, dtype=torch.int64, device=device)
        # Not on the device: Apple's GPUs have no float64.
        self.nats = torch.zeros(num_ids, dtype=torch.float64)

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        """As the objective does."""
        return self.objective.prepare(batch, draws)

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """outputs (M, V) for hidden letters batch.targets (M,)."""
        assert batch.targets is not None
        losses = cross_entropy(outputs.float(), batch.targets, reduction="none")
        guessed = outputs.argmax(dim=1)
        self.counts.index_put_((batch.targets, guessed), torch.ones_like(guessed), accumulate=True)
        self.nats.index_add_(0, batch.targets.cpu(), losses.cpu().double())
        return self.objective.score(outputs, batch)


def letters_section(guessed: LettersGuessed | None) -> Section | None:
    """Each hidden letter: how often it is guessed, and at what perplexity, beside what its frequency alone gives."""
    if guessed is None or not guessed.hidden.sum():
        return None
    total = int(guessed.hidden.sum())
    rows: list[tuple[str | int | float, ...]] = []
    for letter, row, nats, hidden in zip(guessed.letters, guessed.counts, guessed.nats, guessed.hidden, strict=True):
        if hidden:
            right = int(row[guessed.letters.index(letter)])
            perplexity = float(np.exp(nats / hidden))
            rows.append((letter, int(hidden), right / int(hidden), perplexity, total / int(hidden)))
    sentences = []
    mistakes = int(guessed.counts.sum() - np.trace(guessed.counts))
    if guessed.alphabet is PROTEIN and mistakes >= _LEAST_MISTAKES:
        rank = guessed.likeness_to("BLOSUM62")
        sentences.append(
            f"Letters that it takes for each other are {'' if rank > 0.3 else 'hardly '}those that evolution exchanges:"
            f" Spearman ρ with BLOSUM62 is {rank:.2f} over 190 pairs and {mistakes:,} mistakes."
        )
    header = ("letter", "hidden", "guessed right", "perplexity", "perplexity by its frequency alone")
    return Section(
        title="Letters",
        sentences=tuple(sentences),
        charts=(Confusion(labels=guessed.letters, counts=guessed.counts, test_set="hidden and guessed letters"),),
        tables=(Table(header=header, rows=tuple(rows)),),
        note="A letter with a perplexity below that of its frequency is told by its neighbours.",
    )
