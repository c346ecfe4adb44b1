"""Making splits: at random, by label, by a column or by homology, once or in folds, with relatives kept together."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import PROTEIN, Alphabet
from seqtrain.apportion import Groups, apportion, lonely, spread
from seqtrain.draws import fold as keyed
from seqtrain.errors import InputError
from seqtrain.families import read_families
from seqtrain.io.splits import TEST, TEST_FRACTION, TRAIN, VALID, VALID_FRACTION, Split, linked
from seqtrain.letters import PackedLetters
from seqtrain.split_ways import Group, Homology, Random, SplitBy, Stratified
from seqtrain.strata import Strata

_SETS = np.array([TRAIN, VALID, TEST])
Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Splittable:
    """N records of a file, and what is known of them."""

    place: str
    """The file, for messages."""
    identifiers: Sequence[str]
    sequences: PackedLetters
    alphabet: Alphabet = PROTEIN
    """Of the sequences."""
    originals: Sequence[str] | None = None
    """For each record the name of what it is an augmented copy of, its own if of none; copies stay with originals."""
    strata: Strata | None = None
    """What the sets shall have their shares of; None where there are no labels."""
    column: Callable[[str], Sequence[str]] | None = None
    """The N cells of a column by its name; None where there are no columns."""

    def __len__(self) -> int:
        return len(self.sequences)


@dataclass(frozen=True, kw_only=True)
class MadeSplit:
    """A split, or one for each fold."""

    columns: dict[str, NDArray[np.str_]]
    """(N,) sets: "set", and of folds also "fold_1" … "fold_K", of which "set" is the first."""
    groups: Groups
    noun: str
    """What a group is called."""
    made_how: str


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """How records are split."""

    by: SplitBy
    valid_fraction: float = VALID_FRACTION
    """Of all records; 0 for no validation set."""
    test_fraction: float = TEST_FRACTION
    """Of all records; 0 for no test set. Folds test 1/K each instead."""
    num_folds: int | None = None
    rare_classes: Literal["refuse", "train"] = "refuse"
    """Classes that cannot be in train and in test: an error, or in train in every fold and tested in none."""
    seed: int = 0

    def __call__(self, records: Splittable, say: Say) -> MadeSplit:
        """Split records; those with equal sequences and copies with their originals go to one set in every way.

        Whole groups are dealt out so that sizes of the sets and, but for a random split, the shares of the strata come
        near to what is asked, see :func:`seqtrain.apportion.apportion`. In fold k part k of K is tested, and
        the validation set is taken out of the others, again in whole groups.

        Raises:
            InputError: fractions or folds that these records cannot be split by, or a class that would not be learnt.
        """
        self._check(records)
        group, noun, how = _grouping(records, self.by, say)
        counted = Groups.of(group, records.strata)
        groups = Groups.of(group, None) if isinstance(self.by, Random) else counted
        seeded = f"{how} (seed {self.seed})"
        if self.num_folds is None:
            columns = {"set": self._once(groups)}
            shares = " / ".join(f"{100 * each:.3g}" for each in self.fractions().values())
            made_how = f"{shares} % {seeded}"
        else:
            kept = self._kept(records, counted, noun)
            columns = self._folds(groups, kept, noun, records.place)
            made_how = f"{self.num_folds} folds {seeded}, in each {self.valid_fraction:.3g} of all for validation"
        made = MadeSplit(columns=columns, groups=groups, noun=noun, made_how=made_how)
        for sets in columns.values():
            asked = [name for name, fraction in self.fractions().items() if fraction]
            _check_filled(records.place, sets, asked, groups, noun, self.by)
            _check_learnt(records, sets, self.by)
        return made

    def split(self, records: Splittable, say: Say) -> Split:
        """The sets of one split, as a training takes them.

        Raises:
            InputError: as in calling.
        """
        made = self(records, say)
        return Split(made.columns["set"], made.made_how)

    def fractions(self) -> dict[str, float]:
        """Of all records, what is asked for each set."""
        test = 1 / self.num_folds if self.num_folds else self.test_fraction
        return {TRAIN: 1 - self.valid_fraction - test, VALID: self.valid_fraction, TEST: test}

    def _check(self, records: Splittable) -> None:
        total = len(records)
        if self.num_folds is not None and self.num_folds < 2:
            raise InputError(
                f"{self.num_folds} folds: what is tested must not be learnt from, which takes 2 at least; for a single "
                "split leave the number of folds out"
            )
        if self.num_folds is not None and self.num_folds > total:
            raise InputError(f"{records.place}: {self.num_folds:,} folds of {total:,} records; at most {total:,}")
        test = self.fractions()[TEST]
        for name, fraction in (("valid", self.valid_fraction), ("test", test)):
            if not 0 <= fraction < 1:
                raise InputError(f"{name} fraction {fraction:g}: must be at least 0 and less than 1")
            if fraction and round(fraction * total) < 1:
                least = math.ceil(1000 / total) / 1000
                raise InputError(
                    f"{records.place}: {name} fraction {fraction:g} of {total:,} records is none; give at least "
                    f"{least:.3g}, or 0 for no {name} set"
                )
        if self.valid_fraction + test >= 1 or round((1 - self.valid_fraction - test) * total) < 1:
            raise InputError(
                f"{records.place}: fractions {self.valid_fraction:.3g} of {total:,} records for validation and "
                f"{test:.3g} for test leave nothing to train on; lower them"
            )
        if not self.valid_fraction and not test:
            raise InputError("valid fraction 0 and test fraction 0: that is no split; raise one of them")
        if isinstance(self.by, Stratified) and records.strata is None:
            raise InputError(f"{records.place}: there are no labels to stratify by; split it by random or homology")

    def _once(self, groups: Groups) -> NDArray[np.str_]:
        dealt = apportion(groups, list(self.fractions().values()), self.seed, learnt=0)
        return np.asarray(_SETS[dealt][groups.group])

    def _kept(self, records: Splittable, groups: Groups, noun: str) -> NDArray[np.bool_]:
        """(G,) groups that stay in train in every fold, those of classes with one group.

        Raises:
            InputError: there are such classes, and they are not to be kept.
        """
        kept = np.zeros(len(groups), dtype=bool)
        if records.strata is None or not records.strata.must_be_learnt:
            return kept
        rare = lonely(groups)
        if len(rare) and self.rare_classes == "refuse":
            name, size = records.strata.names[rare[0]], int(groups.totals[rare[0]])
            others = f" and {len(rare) - 1:,} other classes likewise" if len(rare) > 1 else ""
            raise InputError(
                f"{records.place}: class {name!r} has {_of(size, 'record')}, in one {noun}{others}: the fold that "
                "tests it could not learn it; leave it out, or keep such classes in train in every fold "
                "(--rare-classes train)"
            )
        kept[groups.owners()[np.isin(groups.strata, rare)]] = True
        return kept

    def _folds(self, groups: Groups, kept: NDArray[np.bool_], noun: str, place: str) -> dict[str, NDArray[np.str_]]:
        assert self.num_folds is not None
        parted = np.flatnonzero(~kept)
        if self.num_folds > len(parted):
            raise InputError(
                f"{place}: {self.num_folds:,} folds of {_of(len(parted), noun)} (records in one are not parted); "
                + (f"at most {len(parted):,}" if len(parted) > 1 else "there is no second to part it from")
            )
        part = np.full(len(groups), -1)
        equal = [1 / self.num_folds] * self.num_folds
        chosen = groups.selected(parted)
        part[parted] = spread(chosen, apportion(chosen, equal, self.seed), self.num_folds)
        columns = {}
        for number in range(self.num_folds):
            rest = np.flatnonzero((part != number) & ~kept)
            left = groups.selected(rest)
            valid = min(self.valid_fraction * groups.sizes.sum() / left.sizes.sum(), 1.0)
            inner = keyed(self.seed, "valid", number)
            dealt = np.where(kept, 0, 2)
            dealt[rest] = apportion(left, (1 - valid, valid), inner, learnt=0)
            columns[f"fold_{number + 1}"] = np.asarray(_SETS[dealt][groups.group])
        return {"set": columns["fold_1"], **columns}


def _grouping(records: Splittable, by: SplitBy, say: Say) -> tuple[NDArray[np.int64], str, str]:
    """(N,) groups that are not parted, what one is called, and how they were made."""
    sequences: list[Hashable] = [records.sequences[i].tobytes() for i in range(len(records))]
    keys: list[Sequence[Hashable]] = [sequences]
    if records.originals is not None:
        keys.append(records.originals)
    if isinstance(by, Random):
        return linked(*keys), "sequence", "at random; homologous records may stand on both sides"
    if isinstance(by, Stratified):
        return linked(*keys), "sequence", "stratified by label; homologous records may stand on both sides"
    if isinstance(by, Group):
        if records.column is None:
            raise InputError(f"{records.place}: is FASTA, which has no column {by.column!r}; split it by homology")
        cells, alone = [cell.strip() for cell in records.column(by.column)], count()
        if not all(cells):
            say(f"column {by.column!r}: empty in {cells.count(''):,} records, each of which is a group of its own")
        keys.append([cell or next(alone) for cell in cells])
        return linked(*keys), "group", f"by column {by.column!r}"
    families = _families(records, by, say)
    keys.append(families[0].tolist())
    return linked(*keys), "cluster", f"by homology: {families[1]}"


def _families(records: Splittable, by: Homology, say: Say) -> tuple[NDArray[np.int64], str]:
    if by.families is not None:
        read, missing = read_families(Path(by.families), records.identifiers)
        if missing:
            say(f"{by.families}: does not name {missing:,} of the records, each of which is a cluster of its own")
        return read.family, f"clusters {read.made_how}"
    from seqtrain.homology import Similarity, homology_clusters

    similarity = Similarity(least_identity=by.identity, method=by.method)
    found = homology_clusters(records.sequences, similarity, alphabet=records.alphabet, say=say)
    return found.family, found.made_how


def _check_filled(
    place: str, sets: NDArray[np.str_], asked: Sequence[str], groups: Groups, noun: str, by: SplitBy
) -> None:
    """Raises InputError where a set that was asked for holds nothing."""
    empty = [name for name in asked if not (sets == name).any()]
    if not empty:
        return
    largest, smallest = int(groups.sizes.max()), int(groups.sizes.min())
    advice = "ask for other fractions"
    if isinstance(by, Homology) and by.families is None:
        advice = f"take a higher identity, such as {min(round(by.identity + 0.2, 2), 0.95):g}, or {advice}"
    elif isinstance(by, Group):
        advice = f"take a column of more groups, or {advice}"
    raise InputError(
        f"{place}: nothing is left for {' and '.join(empty)}: {_of(len(groups), noun)} of {len(sets):,} records, the "
        f"largest of {largest:,}, the smallest of {smallest:,}, and none is parted; {advice}"
    )


def _check_learnt(records: Splittable, sets: NDArray[np.str_], by: SplitBy) -> None:
    """Raises InputError where a class has no training record."""
    strata = records.strata
    if strata is None or not strata.must_be_learnt:
        return
    learnt = np.bincount(strata.strata[sets[strata.records] == TRAIN], minlength=len(strata.names))
    missing = np.flatnonzero(learnt == 0)
    if len(missing):
        others = f" and {len(missing) - 1:,} other classes have" if len(missing) > 1 else " has"
        advice = "try another --seed, fewer folds or a smaller test fraction"
        if isinstance(by, Random):
            advice = "split it by stratified, group or homology, which keep one there"
        raise InputError(
            f"{records.place}: class {strata.names[missing[0]]!r} ({_of(int(strata.totals[missing[0]]), 'record')})"
            f"{others} no record in train; {advice}, or leave the class out"
        )


def _of(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
