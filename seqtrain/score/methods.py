"""Three ways to score variants by a masked language model, all in nats, 0 for the wild type, higher for the likelier.

A masked or wild-type marginal is the sum over the replaced positions i of ln p(new letter) - ln p(old letter), with
the wild type as the background of all of them (Meier et al. 2021, "Language models enable zero-shot prediction of the
effects of mutations on protein function", NeurIPS 34): so variants of several replacements are sums. Both
probabilities come from one softmax, so that it does not matter which tokens they are normalised over.

Insertions and deletions leave no two letters to compare; they have a pseudo-log-likelihood only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from seqtrain.score.language_model import Array, LanguageModel, Query
from seqtrain.score.mutations import Variant

_AHEAD = 2048
"""Queries that are gathered before any is answered: it fills the largest batches, and bounds the memory."""
_KEPT = 16_384
"""Answers that are remembered, as tables ask for the same positions again and again."""
_MOST_VARIANTS = 65_536

Answers = Mapping[Query, Array]


@dataclass(frozen=True)
class MaskedMarginal:
    """Marginals with all replaced positions of a variant masked at once, so that none of them sees another.

    This is the formula of Meier et al. 2021, x_\\T; masking them one at a time, as some programs do, would let each
    position see the wild type at the others, which the variant does not have. A single replacement is the same in both.
    """

    takes_indels: ClassVar[bool] = False

    def queries(self, variant: Variant, max_length: int) -> list[Query]:
        """One per window; the wild type's letters with all replaced positions in the window masked."""
        assert variant.substitutions is not None
        places = [position for position, _ in variant.substitutions]
        by_start: dict[int, list[int]] = {}
        for place in places:
            by_start.setdefault(window_start(len(variant.wild_type), place, max_length), []).append(place)
        found = []
        for start, asked in by_start.items():
            window = _window(variant.wild_type, start, max_length)
            masked = [place for place in places if start <= place < start + len(window)]
            found.append(Query(window, _shifted(masked, start), _shifted(asked, start)))
        return found

    def score(self, variant: Variant, answers: Answers, model: LanguageModel) -> float:
        """The sum over the replaced positions."""
        return _marginal(variant, self.queries(variant, model.max_length), answers, model)


@dataclass(frozen=True)
class WildTypeMarginal:
    """Marginals of the wild type as it is, nothing masked: one pass for a protein that fits into a window."""

    takes_indels: ClassVar[bool] = False

    def queries(self, variant: Variant, max_length: int) -> list[Query]:
        """One per window, which is asked for every position that it is the window of."""
        assert variant.substitutions is not None
        length = len(variant.wild_type)
        starts = dict.fromkeys(window_start(length, place, max_length) for place, _ in variant.substitutions)
        found = []
        for start in starts:
            asked = _answered_by(start, length, max_length)
            found.append(Query(_window(variant.wild_type, start, max_length), (), _shifted(asked, start)))
        return found

    def score(self, variant: Variant, answers: Answers, model: LanguageModel) -> float:
        """The sum over the replaced positions."""
        return _marginal(variant, self.queries(variant, model.max_length), answers, model)


@dataclass(frozen=True)
class PseudoLogLikelihood:
    """Pseudo-log-likelihood of the variant minus that of the wild type, each position masked by itself.

    PLL = the sum over all positions of ln p(letter | the others) (Salazar et al. 2020, "Masked language model scoring",
    ACL, doi:10.18653/v1/2020.acl-main.240). The difference is not divided by the length, as in the scores that Brandes
    et al. 2023 (Nat Genet 55:1512, doi:10.1038/s41588-023-01465-0) give to insertions and deletions; theirs come from
    one pass in which nothing is masked. So each inserted letter counts its own ln p, and each deleted one gives it
    back. Probabilities are over the standard letters; odd letters of the sequence count nothing. It takes one pass per
    letter of every variant, and is thousands of times slower than marginals.
    """

    takes_indels: ClassVar[bool] = True

    def queries(self, variant: Variant, max_length: int) -> list[Query]:
        """One per position of the variant, and one per position of the wild type."""
        return [*_one_by_one(variant.sequence, max_length), *_one_by_one(variant.wild_type, max_length)]

    def score(self, variant: Variant, answers: Answers, model: LanguageModel) -> float:
        """The difference of both sums."""
        one, other = (
            sum(
                float(answers[query][0, column])
                for query, letter in zip(_one_by_one(letters, model.max_length), letters, strict=True)
                if (column := model.columns[letter]) >= 0
            )
            for letters in (variant.sequence, variant.wild_type)
        )
        return one - other


Method = MaskedMarginal | WildTypeMarginal | PseudoLogLikelihood


@dataclass
class Scorer:
    """Scores variants by one method, in order, with the answers of the language model that were asked for last kept."""

    model: LanguageModel
    method: Method
    _known: dict[Query, Array] = field(default_factory=dict, repr=False)

    def __call__(self, variants: Iterable[Variant]) -> Iterator[float]:
        """The score of each variant in nats; nan for insertions and deletions by a method that does not take them.

        Memory does not grow with their number. A score does not depend on what else is scored, nor on the order, save
        for the last bits of the arithmetic.
        """
        chunk: list[Variant] = []
        wanted: dict[Query, None] = {}
        for variant in variants:
            chunk.append(variant)
            for query in self._queries(variant):
                if query in self._known:
                    self._known[query] = self._known.pop(query)  # the newest at the end
                else:
                    wanted[query] = None
            if len(wanted) >= _AHEAD or len(chunk) >= _MOST_VARIANTS:
                yield from self._scores(chunk, wanted)
                chunk, wanted = [], {}
        yield from self._scores(chunk, wanted)

    def _queries(self, variant: Variant) -> list[Query]:
        if variant.sequence == variant.wild_type or not self._takes(variant):
            return []
        return self.method.queries(variant, self.model.max_length)

    def _takes(self, variant: Variant) -> bool:
        return self.method.takes_indels or variant.substitutions is not None

    def _scores(self, chunk: list[Variant], wanted: dict[Query, None]) -> list[float]:
        self._known.update(zip(wanted, self.model(wanted), strict=True))
        found = [self._score(variant) for variant in chunk]
        for query in list(self._known)[: max(len(self._known) - _KEPT, 0)]:
            del self._known[query]
        return found

    def _score(self, variant: Variant) -> float:
        if variant.sequence == variant.wild_type:
            return 0.0
        return self.method.score(variant, self._known, self.model) if self._takes(variant) else float("nan")


def window_start(length: int, place: int, max_length: int) -> int:
    """First letter of the window of ``max_length`` letters in which a position stands as near the middle as it can."""
    return max(0, min(place - max_length // 2, length - max_length))


def _answered_by(start: int, length: int, max_length: int) -> range:
    """The positions whose window begins here."""
    first = start + max_length // 2 if start else 0
    last = length - 1 if start >= length - max_length else start + max_length // 2
    return range(first, last + 1)


def _window(letters: bytes, start: int, max_length: int) -> bytes:
    return letters[start : start + max_length]


def _shifted(places: Iterable[int], start: int) -> tuple[int, ...]:
    return tuple(place - start for place in places)


def _one_by_one(letters: bytes, max_length: int) -> list[Query]:
    """A query per position, masked and asked for."""
    starts = [window_start(len(letters), place, max_length) for place in range(len(letters))]
    windows = {start: _window(letters, start, max_length) for start in set(starts)}
    return [Query(windows[start], (place - start,), (place - start,)) for place, start in enumerate(starts)]


def _marginal(variant: Variant, queries: list[Query], answers: Answers, model: LanguageModel) -> float:
    """Sum over replaced positions of ln p(new) - ln p(old), each from the window that it is asked in."""
    assert variant.substitutions is not None
    rows: dict[int, NDArray[np.float64]] = {}
    length = len(variant.wild_type)
    starts = dict.fromkeys(window_start(length, place, model.max_length) for place, _ in variant.substitutions)
    for start, query in zip(starts, queries, strict=True):
        rows |= {start + place: row for place, row in zip(query.asked, answers[query], strict=True)}
    total = 0.0
    for place, letter in variant.substitutions:
        new, old = model.columns[letter], model.columns[variant.wild_type[place]]
        total += float(rows[place][new] - rows[place][old])
    return total
