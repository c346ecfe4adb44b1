"""Which pairs of sequences may be similar: two spaced words in common that lie on one diagonal.

Words are of letters of a reduced alphabet, at positions with gaps between: at 30 % identity about half of the columns
keep their group (Murphy et al. 2000, Protein Eng 13:149), and matches of spaced words hang together less than those of
plain ones (Ma, Tromp & Li 2002, Bioinformatics 18:440). Two matches at one offset hardly ever come by chance (Altschul
et al. 1997, Nucleic Acids Res 25:3389; so does MMseqs2, Steinegger & Söding 2017, Nat Biotechnol 35:1026).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import Alphabet
from seqtrain.augment.reduced_alphabet import reduced_alphabet
from seqtrain.homology.in_order import in_order
from seqtrain.letters import PackedLetters

_HITS_AT_ONCE = 4_000_000
_FAMILY_HITS = 300_000_000
"""Matches that are looked at in any case; beyond, at most three times those that chance gives. A set with more of them
is one of variants of a protein, each pair of which has hundreds."""
_MOST_HITS = 6_000_000_000
"""Matches of words that are looked at in all; beyond, frequent words are compared with fewer of their like."""
_MOST_DIAGONALS = 30_000_000
"""Of two matches by chance, each of which costs 2 µs."""
_MOST_OF_ONE_WORD = 3_000
"""Other occurrences that one occurrence of a word is compared with."""
_REPEATS = 8
"""Occurrences of a word in one sequence that count."""
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, kw_only=True)
class Words:
    """What words are made of."""

    classes: NDArray[np.uint8]
    """(256,) class of each letter byte, 0 … A - 1; from A on it ends a word."""
    num_classes: int
    patterns: tuple[tuple[str, ...], ...]
    """Sets of patterns, 1 where the letter is part of a word, from the most sensitive one to the fastest."""
    least_score: int
    """Of the stretch without gaps that two words have to be part of; less where sequences are short …"""
    score_per_letter: float
    """… and more where they are long: for each letter of the shorter one that has to be identical."""

    def least_scores(self, shorter: NDArray[np.int64], least_identity: float) -> NDArray[np.float64]:
        """(D,) lengths of the shorter sequence of pairs -> the score from which on they are aligned."""
        start = np.clip(self.score_per_letter * shorter, 0.6 * self.least_score, self.least_score)
        least: NDArray[np.float64] = np.maximum(start, self.score_per_letter * least_identity * shorter)
        return least


@dataclass(frozen=True, kw_only=True)
class Diagonals:
    """Places where D pairs of a query and a target may be similar, by query, then by target."""

    query: NDArray[np.int64]
    target: NDArray[np.int64]
    offset: NDArray[np.int64]
    """(D,) position in the target less position in the query."""
    begin: NDArray[np.int64]
    """(D,) position in the query where the first match begins, …"""
    end: NDArray[np.int64]
    """(D,) … and behind where the last one ends."""


@cache
def words_of(alphabet: Alphabet) -> Words:
    """Proteins: words of 4 to 6 letters of Murphy's 10 groups; nucleotides: of 8 or 11 in a row; codons: of 3.

    The scores were chosen on 60 proteins against 50,000 of many genomes: of 316 homologs that MMseqs2 finds at its
    highest sensitivity (E < 10^-6, 30 % identity) 95 % have two words of the last pattern on a diagonal, and as many a
    stretch there of 40 and of 0.12 per letter of the shorter one, as have 52 pairs per protein.
    """
    classes = np.full(256, 255, np.uint8)
    if alphabet.name == "protein":
        groups = reduced_alphabet("murphy10").groups
        for number, group in enumerate(groups):
            classes[list(group.encode())] = number
        patterns: tuple[tuple[str, ...], ...] = (("11011",), ("1101011", "1110010011", "1011101"))
        patterns += (("11010111", "1100101011", "101100111"), ("11010111", "1100101011"), ("11010111",))
        return Words(classes=classes, num_classes=len(groups), patterns=patterns, least_score=40, score_per_letter=0.4)
    standard = alphabet.standard_letters
    classes[standard] = np.arange(len(standard))
    least_score = 25 if alphabet.bases_per_letter == 3 else 30
    patterns = (("1011", "111"), ("111",)) if alphabet.bases_per_letter == 3 else (("11111111",), ("1" * 11,))
    return Words(
        classes=classes, num_classes=len(standard), patterns=patterns, least_score=least_score, score_per_letter=0.3
    )


@dataclass(frozen=True, kw_only=True)
class _Index:
    """Occurrences of the words of a pattern, by word, then by place."""

    asked: NDArray[np.int32]
    """(T,) the word that begins at each letter of the queries, -1 where none does."""
    first: NDArray[np.int64]
    """(words + 1,) where each word's occurrences begin."""
    owned: NDArray[np.int64]
    """(M,) word · N + sequence of each occurrence."""
    packed: NDArray[np.int64]
    """(M,) sequence, offset of a query's first letter, and a field that is left to the query's position."""
    bits: int
    """Of a position."""
    most: int
    """Other occurrences that one is compared with."""


def shared_diagonals(
    queries: PackedLetters, targets: PackedLetters | None, words: Words, threads: int
) -> Iterator[Diagonals]:
    """Diagonals with two matches or more, for blocks of queries in their order.

    Args:
        targets: None to compare the queries among themselves, each pair once, the earlier one being the query.
    """
    others = queries if targets is None else targets
    bits = max(int(queries.lengths.max(initial=0)), int(others.lengths.max(initial=0))).bit_length() + 1
    patterns = _affordable(queries, others, words)
    indices = [_index(queries, others, words, pattern, bits, len(patterns)) for pattern in patterns]
    span = max(map(len, patterns))

    def look_up(block: tuple[int, int]) -> Diagonals:
        return _diagonals(queries, block, indices, len(others), span, targets is None)

    with ThreadPoolExecutor(threads) as pool:
        yield from in_order(pool, look_up, _blocks(queries, indices, len(others)), threads + 1)


def _affordable(queries: PackedLetters, targets: PackedLetters, words: Words) -> tuple[str, ...]:
    """The most sensitive set of patterns whose matches and diagonals are not too many; the fastest if there is none."""
    each_once = 2 if queries is targets else 1
    all_places = max(float(len(queries.letters)) * len(targets.letters), 1.0)
    length = len(targets.letters) / max(len(targets), 1)
    for patterns in words.patterns:
        matches = 0.0
        for pattern in patterns:
            number = words.num_classes ** pattern.count("1")
            asked = _words(queries.letters, queries.boundaries, words, pattern)
            there = _words(targets.letters, targets.boundaries, words, pattern)
            counts = [np.bincount(codes[codes >= 0], minlength=number).astype(np.float64) for codes in (asked, there)]
            matches += float(counts[0] @ counts[1])
        # A match has another one on its diagonal about as often as it has letters to find it at.
        diagonals = matches * min(matches / all_places * length, 1)
        if matches <= each_once * _MOST_HITS and diagonals <= each_once * _MOST_DIAGONALS:
            return patterns
    return words.patterns[-1]


def _words(letters: NDArray[np.uint8], boundaries: NDArray[np.int64], words: Words, pattern: str) -> NDArray[np.int32]:
    """(T,) the word that begins at each letter; -1 where none does."""
    span = len(pattern)
    found = np.full(len(letters), -1, np.int32)
    if len(letters) < span:
        return found
    classes = words.classes[letters]
    codes = np.zeros(len(letters) - span + 1, np.int32)
    wrong = np.zeros(len(codes), np.bool_)
    for step, part in enumerate(pattern):
        if part == "1":
            here = classes[step : step + len(codes)]
            codes *= np.int32(words.num_classes)
            codes += here
            wrong |= here >= words.num_classes
    codes[wrong] = -1
    found[: len(codes)] = codes
    # Of each sequence the last letters begin no word.
    ends = boundaries[1:, None] - np.arange(1, span)
    found[ends[ends >= boundaries[:-1, None]]] = -1
    return found


def _index(
    queries: PackedLetters, targets: PackedLetters, words: Words, pattern: str, bits: int, num_patterns: int
) -> _Index:
    number = words.num_classes ** pattern.count("1")
    asked = _words(queries.letters, queries.boundaries, words, pattern)
    order, owner = _occurrences(asked, queries)
    fewer = np.full_like(asked, -1)
    fewer[order] = asked[order]
    codes = asked
    if queries is not targets:
        codes = _words(targets.letters, targets.boundaries, words, pattern)
        order, owner = _occurrences(codes, targets)
    there = np.bincount(codes[order], minlength=number)
    wanted = np.bincount(fewer[fewer >= 0], minlength=number)
    by_chance = _by_chance(queries, targets, words, pattern)
    each_once = 2 if queries is targets else 1
    budget = min(each_once * _MOST_HITS, max(each_once * _FAMILY_HITS, 3 * num_patterns * by_chance)) / num_patterns
    most = _MOST_OF_ONE_WORD
    while most > 8 and float(wanted.astype(np.float64) @ np.minimum(there, most)) > budget:
        most = most * 3 // 4
    return _Index(
        asked=fewer,
        first=np.concatenate([[0], np.cumsum(there)]),
        owned=codes[order].astype(np.int64) * len(targets) + owner,
        packed=(owner << 2 * bits) + ((order - targets.boundaries[owner]) << bits),
        bits=bits,
        most=most,
    )


def _occurrences(codes: NDArray[np.int32], sequences: PackedLetters) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places (M,) where words begin, by word, then by place, and the sequence of each.

    Of the repeats of a word in a sequence only the first ones: their matches would lie on as many diagonals as there
    are pairs of them.
    """
    places = np.flatnonzero(codes >= 0)
    order = places[np.argsort(codes[places], kind="stable")]
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)[order]
    leads = np.flatnonzero((np.diff(codes[order], prepend=-1) != 0) | (np.diff(owner, prepend=-1) != 0))
    kept = np.arange(len(order)) - np.repeat(leads, np.diff(leads, append=len(order))) < _REPEATS
    return order[kept], owner[kept]


def _by_chance(queries: PackedLetters, targets: PackedLetters, words: Words, pattern: str) -> float:
    """Matches expected of letters in any order."""
    both = []
    for letters in (queries.letters, targets.letters):
        counts = np.bincount(words.classes[letters], minlength=256)[: words.num_classes]
        both.append(counts / max(len(letters), 1))
    same = float(both[0] @ both[1]) ** pattern.count("1")
    return float(len(queries.letters)) * len(targets.letters) * same


def _blocks(queries: PackedLetters, indices: list[_Index], num_targets: int) -> Iterator[tuple[int, int]]:
    """First and last of the queries that are looked up together: within memory, and within the bits of a key."""
    total = np.zeros(len(queries) + 1, np.int64)
    for index in indices:
        hits = np.minimum(np.diff(index.first), index.most)[np.maximum(index.asked, 0)] * (index.asked >= 0)
        total += np.concatenate([[0], np.cumsum(hits)])[queries.boundaries]
    most = 1 << max(62 - 2 * indices[0].bits - num_targets.bit_length(), 0)
    first = 0
    while first < len(queries):
        last = int(np.searchsorted(total, total[first] + _HITS_AT_ONCE, side="right")) - 1
        last = min(max(last, first + 1), len(queries), first + most)
        yield first, last
        first = last


def _diagonals(
    queries: PackedLetters, block: tuple[int, int], indices: list[_Index], num_targets: int, span: int, within: bool
) -> Diagonals:
    """The diagonals of a block: its matches as integers of query, target, offset and position, sorted."""
    top = 2 * indices[0].bits + num_targets.bit_length()
    keys = np.concatenate([_matches(queries, block, index, top, within) for index in indices])
    keys.sort()
    return _runs(keys, indices[0].bits, top, block[0], span)


def _matches(
    queries: PackedLetters, block: tuple[int, int], index: _Index, top: int, within: bool
) -> NDArray[np.int64]:
    """(matches,) keys: the query above bit ``top``, the target, the offset and the query's position."""
    edges = queries.boundaries[block[0] : block[1] + 1]
    places = edges[0] + np.flatnonzero(index.asked[edges[0] : edges[-1]] >= 0)
    query = np.searchsorted(edges, places, side="right") - 1
    position = places - edges[query]
    word = index.asked[places].astype(np.int64)
    low, high = index.first[word], index.first[word + 1]
    if within:
        low = np.searchsorted(index.owned, word * len(queries) + query + block[0], side="right")
    else:
        # Of too many, all words of a query take the same share of the targets: else they would not meet again.
        low = low + (np.maximum(high - low - index.most, 0) * ((query + block[0]) * _GOLDEN % 1)).astype(np.int64)
    counts = np.minimum(high - low, index.most)
    keys = np.arange(int(counts.sum()))
    keys += np.repeat(low - (np.cumsum(counts) - counts), counts)
    keys = index.packed[keys]
    half = 1 << index.bits - 1
    keys += np.repeat((query << top) + ((half - position) << index.bits) + position, counts)
    return keys


def _runs(keys: NDArray[np.int64], bits: int, top: int, first_query: int, span: int) -> Diagonals:
    """Sorted matches -> the diagonals on which there are two or more."""
    diagonals = keys >> bits
    second = np.flatnonzero(diagonals[1:] == diagonals[:-1]) + 1
    leads = np.flatnonzero(np.diff(diagonals[second], prepend=-1))
    lasts = np.append(leads[1:], len(second)) - 1 if len(leads) else leads
    begin, end = keys[second[leads] - 1], keys[second[lasts]]
    mask, half = (1 << bits) - 1, 1 << bits - 1
    return Diagonals(
        query=(begin >> top) + first_query,
        target=(begin & (1 << top) - 1) >> 2 * bits,
        offset=(begin >> bits & mask) - half,
        begin=begin & mask,
        end=(end & mask) + span,
    )
