"""Families of sequences, from a table of clusters or found by the k-mers they share, and what their members weigh."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import mix
from seqtrain.errors import InputError
from seqtrain.io.compressed import DAMAGE, damaged, open_bytes

_LETTERS_AT_ONCE = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Families:
    """Which records belong together."""

    family: NDArray[np.int64]
    """(N,) index of each record's family, 0 … F - 1."""
    made_how: str

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(F,) records of each."""
        return np.bincount(self.family)

    def weights(self, power: float) -> NDArray[np.float64]:
        """(N,) size^-power of each record's family: 0 leaves records as they are, 1 makes all families alike.

        ESM-2 draws its clusters at 50 % identity evenly and then a member (Lin et al. 2023, Science 379:1123), which is
        1; weights of one over the number of similar sequences are also those of direct coupling analysis (Morcos et al.
        2011, PNAS 108:E1293).
        """
        return np.asarray(self.sizes[self.family].astype(np.float64) ** -power)

    def effective_number(self, power: float = 0.0) -> float:
        """exp of the entropy of the families' shares (Hill number of order 1), as they are or sampled by weights."""
        shares = self.sizes.astype(np.float64) ** (1 - power)
        shares /= shares.sum()
        return float(np.exp(-(shares * np.log(shares)).sum()))

    def facts(self, power: float) -> dict[str, float | int | str]:
        """What a run says of them."""
        return {
            "records": len(self.family),
            "families": len(self.sizes),
            "largest": int(self.sizes.max()),
            "effective_number": round(self.effective_number(), 1),
            "effective_number_sampled": round(self.effective_number(power), 1),
            "made_how": self.made_how,
        }


@dataclass(frozen=True, kw_only=True)
class SharedKmers:
    """Families by shared k-mers, in time linear in the letters (after linclust, Steinegger & Söding 2018).

    Of each record some k-mers are taken, those whose hash is lowest among all possible ones; the longest record that
    has a k-mer is its centre; a record joins the centre that it shares most of its taken k-mers with, if these are
    enough. Unlike linclust nothing is aligned afterwards, so families are rougher: with the numbers here, of planted
    copies nearly all at 90 % identity find their source, 9 of 10 at 80 %, and fewer than half at 70 %; fragments find
    what they are part of, and shuffled proteins nothing. For families at lower identity give the table of a clustering
    program.
    """

    length: int = 6
    """k, letters."""
    wanted: int = 20
    """K-mers that are taken of a record, on average, …"""
    fraction: float = 1 / 16
    """… or this fraction of them, where that is more."""
    least_share: float = 0.1
    """Of the taken k-mers of a record, that its centre must have."""
    least_shared: int = 3
    """Taken k-mers in common; all of them, where a record has fewer."""

    def __call__(self, letters: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Families:
        """letters (T,) of N records, record i at offsets[i] to offsets[i + 1] -> their families."""
        lengths = np.diff(offsets)
        kmers, records = self._taken(letters, offsets)
        # By k-mer, the longest record first, of equal ones the first in the file.
        ranks = np.empty(len(lengths), np.int64)
        ranks[np.lexsort((np.arange(len(lengths)), -lengths))] = np.arange(len(lengths))
        order = np.lexsort((ranks[records], kmers))
        kmers, records = kmers[order], records[order]
        first = np.concatenate([[True], (kmers[1:] != kmers[:-1]) | (records[1:] != records[:-1])])[: len(kmers)]
        kmers, records = kmers[first], records[first]
        taken = np.bincount(records, minlength=len(lengths))
        leads = np.concatenate([[True], kmers[1:] != kmers[:-1]])[: len(kmers)]
        centres = records[np.flatnonzero(leads)][np.cumsum(leads) - 1] if len(kmers) else records
        pairs, shared = np.unique(records * len(lengths) + centres, return_counts=True)
        members, centres = np.divmod(pairs, len(lengths))
        needed = np.maximum(np.ceil(self.least_share * taken), np.minimum(self.least_shared, taken))
        joined = (shared >= needed[members]) & (members != centres)
        members, centres, shared = members[joined], centres[joined], shared[joined]
        # Of several centres the one with most k-mers in common, and of equal ones the longest.
        best = np.lexsort((-ranks[centres], shared, members))
        parents = np.arange(len(lengths))
        parents[members[best]] = centres[best]
        return Families(
            family=_numbered(_roots(parents)),
            made_how=f"found by shared {self.length}-mers, most of those at 80 % identity and above",
        )

    def _taken(
        self, letters: NDArray[np.uint8], offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Hashes (M,) of the k-mers that are taken, and (M,) the record of each."""
        lengths = np.diff(offsets)
        places = np.maximum(lengths - self.length + 1, 1)
        shares = np.minimum(np.maximum(self.fraction, self.wanted / places), 1)
        limits = (shares * (2**62 - 1)).astype(np.int64)
        hashes, records = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        starts = offsets[:-1]
        first = 0
        while first < len(lengths):
            last = int(np.searchsorted(offsets, offsets[first] + _LETTERS_AT_ONCE, side="right"))
            last = min(max(last - 1, first + 1), len(lengths))
            part = letters[offsets[first] : offsets[last]].astype(np.int64)
            if len(part) >= self.length:
                codes = np.zeros(len(part) - self.length + 1, np.int64)
                for step in range(self.length):
                    codes = codes * 257 + part[step : step + len(codes)]
                owners = np.repeat(np.arange(first, last), lengths[first:last])[: len(codes)]
                ends = np.arange(len(codes)) + self.length <= offsets[owners + 1] - starts[first]
                bits = mix(codes) & (2**62 - 1)
                kept = ends & (bits < limits[owners])
                hashes.append(bits[kept])
                records.append(owners[kept])
            first = last
        return np.concatenate(hashes), np.concatenate(records)


def read_families(path: Path, names: Sequence[str]) -> tuple[Families, int]:
    """Families from a table of two columns, representative and member, as MMseqs2 writes its clusters.

    Args:
        names: of the records, in their order.

    Returns:
        The families, and how many records the table does not name; each of these is a family of its own.

    Raises:
        InputError: no such file, a line that is none of two columns, a member of two families, or none of the records.
    """
    family_of: dict[str, int] = {}
    number_of: dict[str, int] = {}
    for line, representative, member in _rows(path):
        number = number_of.setdefault(representative, len(number_of))
        if family_of.setdefault(member, number) != number:
            raise InputError(f"{path}:{line}: {member} is in two families; leave it in one")
    found = [family_of.get(name) for name in names]
    missing = sum(number is None for number in found)
    if missing == len(names):
        raise InputError(
            f"{path}: names none of the {len(names):,} sequences, the first of which is {names[0]}; give the table "
            "that was made of these files, with the representative and the member in two columns"
        )
    alone = iter(range(len(number_of), len(number_of) + missing))
    family = np.array([next(alone) if number is None else number for number in found], dtype=np.int64)
    return Families(family=_numbered(family), made_how=f"from {path.name}"), missing


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    number = 0
    with open_bytes(path) as file:
        try:
            for number, line in enumerate(file, start=1):
                cells = line.decode("utf-8-sig" if number == 1 else "utf-8", "replace").rstrip("\r\n").split("\t")
                if cells == [""]:
                    continue
                if len(cells) != 2 or not all(cells):
                    raise InputError(
                        f"{path}:{number}: {len(cells)} columns; write a representative and a member, a tab between"
                    )
                yield number, cells[0], cells[1]
        except DAMAGE as error:
            raise damaged(str(path), error, f"line {number}") from error


def _roots(parents: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) the parent of each, itself at a root -> (N,) the root above each."""
    while True:
        above = parents[parents]
        if (above == parents).all():
            return parents
        parents = above


def _numbered(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) -> (N,) the same groups, numbered from 0 on without gaps."""
    numbered: NDArray[np.int64] = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    return numbered
