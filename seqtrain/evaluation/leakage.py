"""Leakage: how near each held-out record comes to a training record, and how the score depends on it.

Identity is that of :mod:`seqtrain.homology`: identical columns over the length of the shorter sequence, in local
alignments that cover most of it. Equal sequences are found exactly. Where all sequences are variants of one, every
pair is alike, and what counts is the number of letters by which the nearest differs: it is counted, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import PROTEIN, Alphabet
from seqtrain.draws import fold, permuted
from seqtrain.evaluation.variant_distance import common_wild_type, nearest_variants
from seqtrain.homology import Similarity, nearest
from seqtrain.letters import PackedLetters

NEAR_DUPLICATE = 0.9
LEAST_RECORDS = 20
"""Of a stratum, to say anything of its score."""
MAX_SAMPLED = 2_000
_EDGES = (0.3, 0.5, 0.7, NEAR_DUPLICATE)
_ANOTHER_LENGTH = "another length"
_LETTER_EDGES = (0, 1, 2, 3, 6, 11)
_LEAST_SAMPLED = 200
_TRAIN = "train"


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """The held-out records of one set that are about as near to a training record."""

    test_set: str
    name: str
    """Such as "50 to 70 %", or "1 letter" among variants."""
    num_records: int
    metrics: dict[str, float]
    """Empty where nothing was predicted."""
    intervals: dict[str, tuple[float, float]]
    """95 %; empty with fewer than 20 records."""


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """The nearest training record of M held-out records."""

    records: NDArray[np.int64]
    """(M,) held-out records that were looked at, set by set."""
    sets: NDArray[np.str_]
    """(M,) the set of each."""
    nearest: NDArray[np.int64]
    """(M,) its nearest training record; -1 where none is similar."""
    identity: NDArray[np.float64]
    """(M,) fraction; nan where none is similar."""
    equal: NDArray[np.bool_]
    """(M,) whether the nearest has the very sequence; a fragment of it has an identity of 1 as well."""
    letters: NDArray[np.int64] | None
    """(M,) letters that differ, -1 where lengths do; None unless all records are variants of one sequence."""
    least_identity: float
    """What counts as similar."""
    held_out: dict[str, int]
    """Records of each set; more than were looked at where a sample was."""
    strata: tuple[Stratum, ...] = ()
    metric: str = ""
    """The main one of those that the strata have."""

    def of_set(self, name: str) -> NDArray[np.int64]:
        """Places of the records of one set among the M."""
        return np.flatnonzero(self.sets == name)

    def bands(self, name: str) -> list[tuple[str, NDArray[np.int64]]]:
        """Bands of nearness of one set, the farthest first, and the places of their records; none is empty."""
        places = self.of_set(name)
        if self.letters is not None:
            distance = self.letters[places]
            pairs = [*zip(_LETTER_EDGES, (*_LETTER_EDGES[1:], None), strict=True)]
            masks = [
                (_letters_in_words(low, high), (distance >= low) & (distance < (high or np.inf))) for low, high in pairs
            ][::-1]
            masks.insert(0, (_ANOTHER_LENGTH, distance < 0))
        else:
            edges = [self.least_identity, *(edge for edge in _EDGES if edge > self.least_identity)]
            identity = self.identity[places]
            masks = [(f"below {edges[0]:.0%}".replace("%", " %"), np.isnan(identity))]
            for low, high in zip(edges, [*edges[1:], None], strict=True):
                words = f"{100 * low:.0f} % and more" if high is None else f"{100 * low:.0f} to {100 * high:.0f} %"
                masks.append((words, (identity >= low) & (identity < (high or np.inf))))
        return [(words, places[mask]) for words, mask in masks if mask.any()]

    def num_equal(self, name: str) -> int:
        """Records of one set with the very sequence of a training record."""
        return int(self.equal[self.of_set(name)].sum())

    def words(self) -> list[str]:
        """One sentence per set: how many are near to training records, and what that does to the score."""
        say = self._words_of if self.letters is None else self._words_of_variants
        return [say(name) for name in self.held_out if len(self.of_set(name))]

    def as_results(self) -> dict[str, Any]:
        """What ``run.json`` keeps."""
        return {
            "records": len(self.records),
            "held_out": dict(self.held_out),
            "least_identity": self.least_identity,
            "variants": self.letters is not None,
            "strata": [
                {
                    "test_set": each.test_set,
                    "nearest_training_record": each.name,
                    "records": each.num_records,
                    "metrics": each.metrics,
                    "intervals": {name: list(ends) for name, ends in each.intervals.items()},
                }
                for each in self.strata
            ],
        }

    def table(self) -> tuple[tuple[str, ...], list[tuple[str | int | float, ...]]]:
        """Header and rows of the strata, for a report: the main metric with its interval where there is one."""
        ends_shown = any(self.metric in each.intervals for each in self.strata)
        header = ("set", "nearest training record", "records", *((self.metric,) if self.metric else ()))
        header += ("95 % from", "to") if ends_shown else ()
        rows: list[tuple[str | int | float, ...]] = []
        for each in self.strata:
            cells: tuple[str | int | float, ...] = (each.test_set, each.name, each.num_records)
            if self.metric:
                value, ends = each.metrics.get(self.metric), each.intervals.get(self.metric)
                cells += ("" if value is None else _rounded(value),)
                cells += tuple(map(_rounded, ends)) if ends else ("", "") if ends_shown else ()
            rows.append(cells)
        return header, rows

    def _counted(self, name: str) -> str:
        looked, total = len(self.of_set(name)), self.held_out[name]
        of = f"{looked:,} {name} record{'s' * (looked != 1)}"
        return of if looked == total else f"{of} (drawn from {total:,})"

    def _words_of(self, name: str) -> str:
        identity = self.identity[self.of_set(name)]
        near, equal, far = int((identity >= NEAR_DUPLICATE).sum()), self.num_equal(name), int(np.isnan(identity).sum())
        least = f"{100 * self.least_identity:.0f} %"
        if far == len(identity):
            return f"none of {self._counted(name)} has a training record of {least} identity or more"
        same = f" ({equal:,} the very sequence)" if equal else ""
        least_near = f"{100 * NEAR_DUPLICATE:.0f} %"
        words = f"{near:,} of {self._counted(name)} {_have(near)} a training record of at least {least_near} identity"
        return f"{words}{same}, and {far:,} {_have(far)} none of even {least}{self._contrast(name)}"

    def _words_of_variants(self, name: str) -> str:
        assert self.letters is not None
        places = self.of_set(name)
        known = self.letters[places][self.letters[places] >= 0]
        words = f"{self._counted(name)} are variants of one sequence"
        if not len(known):
            return f"{words}, all of another length than those trained on"
        low, middle, high = int(known.min()), float(np.median(known)), int(known.max())
        apart = (
            f"{low} letter{'s' * (low != 1)}" if low == high else f"{low} to {high} letters, {middle:g} in the median"
        )
        least = 100 * np.nanmin(self.identity[places])
        return (
            f"{words}: the nearest training variant differs in {apart} (identity {least:.1f} % and more)"
            f"{self._contrast(name)}"
        )

    def _contrast(self, name: str) -> str:
        """The score among the nearest and among the farthest records, where both are enough to say it."""
        enough = [
            each
            for each in self.strata
            if each.test_set == name
            and each.num_records >= LEAST_RECORDS
            and self.metric in each.metrics
            and each.name != _ANOTHER_LENGTH
        ]
        if len(enough) < 2:
            return ""
        far, near = enough[0], enough[-1]
        return (
            f"; {self.metric} {near.metrics[self.metric]:.2f} among the nearest ({near.name}, {near.num_records:,}), "
            f"{far.metrics[self.metric]:.2f} among the farthest ({far.name}, {far.num_records:,})"
        )


def find_leakage(
    sequences: PackedLetters,
    sets: NDArray[np.str_],
    held_out: Sequence[str],
    *,
    alphabet: Alphabet = PROTEIN,
    least_identity: float = 0.3,
    limit: int | None = MAX_SAMPLED,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
) -> Leakage | None:
    """The nearest training record of held-out records, without scores.

    Args:
        sequences: all N.
        sets: (N,) the set of each; "train" is what the others are compared with.
        held_out: names of the sets that are looked at.
        alphabet: what the letters are.
        least_identity: fraction from which on a training record counts as similar.
        limit: records that are looked at, drawn by the seed, though 200 of each set at least; None: all.

    Returns:
        None where one of the two sides has no records.
    """
    train = np.flatnonzero(sets == _TRAIN)
    chosen = {name: _sample(sets, name, held_out, limit, seed) for name in held_out}
    records = np.concatenate([np.zeros(0, np.int64), *chosen.values()])
    if not len(train) or not len(records):
        return None
    found, identity = _equal(sequences, records, train)
    equal = found >= 0
    letters = None
    wild_type = common_wild_type(sequences)
    if wild_type is not None:
        letters, places = nearest_variants(sequences, records, train, wild_type)
        letters[(letters < 0) & (found >= 0)] = 0
        known = (letters > 0) | ((letters == 0) & (found < 0))
        found[known] = train[places[known]]
        identity[known] = 1 - letters[known] / len(wild_type)
    rest = np.flatnonzero(found < 0)
    if len(rest):
        queries, targets = sequences.selected(records[rest])[0], sequences.selected(train)[0]
        similar = nearest(queries, targets, Similarity(least_identity=least_identity), say, alphabet=alphabet)
        known = similar.index >= 0
        found[rest[known]], identity[rest[known]] = train[similar.index[known]], similar.identity[known]
    return Leakage(
        records=records,
        sets=sets[records],
        nearest=found,
        identity=identity,
        equal=equal,
        letters=letters,
        least_identity=least_identity,
        held_out={name: int((sets == name).sum()) for name in held_out if (sets == name).any()},
    )


def _equal(
    sequences: PackedLetters, records: NDArray[np.int64], train: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(M,) the first training record with the very sequence, or -1; (M,) 1 there and nan elsewhere."""
    first: dict[bytes, int] = {}
    for index in train.tolist():
        first.setdefault(sequences[index].tobytes(), index)
    found = np.array([first.get(sequences[index].tobytes(), -1) for index in records.tolist()], dtype=np.int64)
    return found, np.where(found >= 0, 1.0, np.nan)


def _sample(
    sets: NDArray[np.str_], name: str, held_out: Sequence[str], limit: int | None, seed: int
) -> NDArray[np.int64]:
    """Records of one set, all or its share of the limit, increasing."""
    members = np.flatnonzero(sets == name)
    total = int(np.isin(sets, list(held_out)).sum())
    if limit is None or total <= limit:
        return members
    wanted = min(len(members), max(_LEAST_SAMPLED, round(limit * len(members) / total)))
    return members[np.sort(permuted(np.arange(wanted), len(members), fold(seed, "leakage", name)))]


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _letters_in_words(low: int, high: int | None) -> str:
    if high is None:
        return f"{low} letters and more"
    words = f"{low}" if high == low + 1 else f"{low} to {high - 1}"
    return f"{words} letter{'s' * (words != '1')}"


def _rounded(value: float) -> float | str:
    return "" if np.isnan(value) else round(value, 4)
