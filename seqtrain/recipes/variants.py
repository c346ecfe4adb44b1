"""Reading measured variants: a table of sequences, or of mutants such as A24G, with a score for each."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import Alphabet
from seqtrain.errors import InputError
from seqtrain.evaluation.variants import Variants
from seqtrain.io.cells import is_missing
from seqtrain.io.columns import Columns, find_columns
from seqtrain.io.delimited import Table
from seqtrain.io.fasta import read_fasta
from seqtrain.io.inputs import raw_rows
from seqtrain.io.ledger import Ledger
from seqtrain.io.records import BadRecords, RawRecord, RecordReader, find_alphabet

if TYPE_CHECKING:
    from seqtrain.fitting import Listener

_MAX_POSITION = 100_000  # a typing error must not cost gigabytes
_WILD_TYPE_WORDS = ("", "wt", "_wt", "wild type", "wildtype", "wild-type", "=", "_sy")
_ONE_LETTER = re.compile(r"([A-Z*])(\d+)([A-Z*=])")
_THREE_LETTERS = re.compile(r"([A-Z][a-z]{2})(\d+)([A-Z][a-z]{2}|[=*])")


@dataclass(frozen=True, kw_only=True)
class VariantsConfig:
    """How a table of variants is read."""

    alphabet: str = "auto"
    wild_type: str | None = None
    """A FASTA of one sequence; None: the consensus of the table."""
    sequence_column: str | None = None
    mutant_column: str | None = None
    """Cells such as A24G, or A24G:L30P; positions count from 1."""
    score_column: str | None = None
    bad_records: BadRecords = "error"


@dataclass(frozen=True, kw_only=True)
class _ScoredRows:
    """The n rows of a table that have a score."""

    table: Table
    columns: Columns
    """Sequences are those of the variants, or their mutants."""
    indices: NDArray[np.int64]
    """(n,) into the table, increasing."""
    scores: NDArray[np.float64]
    """(n,)"""


def read_variants(table: Table, config: VariantsConfig, listener: Listener) -> Variants:
    """The variants of a table of sequences of one length, or of mutants such as A24G:L30P, with their scores.

    Raises:
        InputError: no scores, no single wild type, or rows that contradict it; named by row and position.
    """
    part, are_mutants = _find_part(table, config)
    try:
        columns = find_columns(table, sequence=part, targets=[config.score_column] if config.score_column else ())
    except InputError as error:
        raise InputError(str(error).replace("--target", "--score-column")) from None
    rows = _scored_rows(table, columns)
    variants, origin = (_from_mutants if are_mutants else _from_sequences)(rows, config, listener)
    counts = variants.num_replacements
    listener.say(
        f"{table.path}: {'mutants' if are_mutants else 'sequences'} from column {part!r}, scores from column "
        f"{columns.targets[0]!r} (higher is better); {len(table) - len(rows.indices):,} rows without a score are left "
        "out"
    )
    listener.say(
        f"wild type: {len(variants.wild_type)} letters, {origin}; {len(counts):,} variants: {(counts == 0).sum():,} "
        f"with no replacement, {(counts == 1).sum():,} with one, {(counts > 1).sum():,} with more"
    )
    return variants


def _find_part(table: Table, config: VariantsConfig) -> tuple[str, bool]:
    """The column that says what the variants are, and whether it names mutants rather than sequences."""
    if config.mutant_column and config.sequence_column:
        raise InputError("--mutant-column and --sequence-column: both say what the variants are; give one of them")
    if config.sequence_column is not None:
        return config.sequence_column, False
    if config.mutant_column is not None:
        return config.mutant_column, True
    mutants = next((name for name, cells in table.columns.items() if _look_like_mutants(cells)), None)
    try:
        sequences = find_columns(table, want_targets=False).sequence
    except InputError:
        if mutants is None:
            raise InputError(
                f"{table.path}: no column looks like sequences or like mutants such as A24G (columns: "
                f"{', '.join(table.columns)}); name it: --sequence-column or --mutant-column"
            ) from None
        return mutants, True
    # One sequence in every row is the wild type, not a variant.
    if mutants is not None and len(set(table.column(sequences))) == 1:
        return mutants, True
    return sequences, False


def _look_like_mutants(cells: Sequence[str]) -> bool:
    sample = [cell for cell in cells[:200] if cell.strip()]
    return bool(sample) and sum(_replacements(cell) not in (None, []) for cell in sample) >= 0.9 * len(sample)


def _scored_rows(table: Table, columns: Columns) -> _ScoredRows:
    indices, scores = [], []
    column = columns.targets[0]
    for row, cell in enumerate(table.column(column)):
        if not cell.strip() or is_missing(cell):
            continue
        try:
            scores.append(float(cell))
        except ValueError:
            raise InputError(
                f"{table.place(row)}: the score {cell!r} in column {column!r} is no number; name another "
                "--score-column, or write classes as 0 and 1"
            ) from None
        if not math.isfinite(scores[-1]):
            raise InputError(f"{table.place(row)}: the score {cell!r} is not finite; correct it, or leave it empty")
        indices.append(row)
    if not indices:
        raise InputError(f"{table.path}: column {column!r} has no scores; name another: --score-column")
    return _ScoredRows(table=table, columns=columns, indices=np.array(indices), scores=np.array(scores))


def _from_sequences(rows: _ScoredRows, config: VariantsConfig, listener: Listener) -> tuple[Variants, str]:
    """The variants, and where the wild type is from, in words."""
    path = rows.table.path
    every = list(raw_rows(rows.table, rows.columns))
    raw = [every[row] for row in rows.indices.tolist()]
    alphabet = find_alphabet(config.alphabet, (each.sequence for each in raw[:1000]), path)
    ledger = Ledger()
    given = _given_wild_type(config, alphabet, ledger)
    lengths = [len(each.sequence.decode().rstrip("*")) // alphabet.bases_per_letter for each in raw]
    length = len(given) if given is not None else Counter(lengths).most_common(1)[0][0]
    problems = [
        f"another length than the wild type: {each} letters, not {length}" if each not in (length, 0) else ""
        for each in lengths
    ]
    reader = RecordReader(alphabet, config.bad_records, ledger, keep_bad=True)
    judged = list(reader(replace(each, problem=problem) for each, problem in zip(raw, problems, strict=True)))
    ledger.check()
    for line in ledger.lines():
        if ": noted " not in line:
            listener.say(line)
    kept = np.array([index for index, record in enumerate(judged) if len(record.letters)], dtype=np.int64)
    if not len(kept):
        raise InputError(f"{path}: no usable variants are left of {len(judged):,}; see the ledger above")
    letters = np.stack([judged[index].letters for index in kept])
    wild_type = _consensus(letters, path) if given is None else given
    which, positions = np.nonzero(letters != wild_type)
    return Variants(
        alphabet=alphabet,
        wild_type=wild_type,
        scores=rows.scores[kept],
        variants=which,
        positions=positions,
        letters=letters[which, positions],
    ), "the commonest letter of each position" if given is None else f"from {config.wild_type}"


def _consensus(letters: NDArray[np.uint8], path: str) -> NDArray[np.uint8]:
    """(N, L) variants -> (L,) the letter that most of them have at each position.

    Raises:
        InputError: a position where none has the majority, so that there is no one wild type.
    """
    positions = np.broadcast_to(np.arange(letters.shape[1]), letters.shape)
    counts = _letter_counts(letters.ravel(), positions.ravel())
    unsure = np.flatnonzero(counts.max(axis=1) * 2 <= len(letters))
    if len(unsure):
        raise InputError(
            f"{path}: at position {unsure[0] + 1} no letter stands in more than half of the {len(letters):,} "
            "sequences, so that they have no consensus; give the wild type: --wild-type FASTA"
        )
    consensus: NDArray[np.uint8] = counts.argmax(axis=1).astype(np.uint8)
    return consensus


def _letter_counts(letters: NDArray[np.uint8], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """(L, 256) how often each letter (M,) stands at each position (M,)."""
    length = int(positions.max()) + 1
    return np.bincount(positions * 256 + letters, minlength=256 * length).reshape(length, 256)


def _from_mutants(rows: _ScoredRows, config: VariantsConfig, listener: Listener) -> tuple[Variants, str]:
    """The variants, and where the wild type is from, in words."""
    path, column = rows.table.path, rows.columns.sequence
    kept, mutants = _usable_mutants(rows, config, listener)
    flat = [(index, *each) for index, mutant in enumerate(mutants) for each in mutant]
    if not flat:
        raise InputError(f"{path}: column {column!r} names no replacement; name another: --mutant-column")
    which, befores, places, afters = zip(*flat, strict=True)
    variants, positions = np.array(which, dtype=np.int64), np.array(places, dtype=np.int64) - 1
    before, after = (np.frombuffer("".join(letters).encode(), dtype=np.uint8) for letters in (befores, afters))
    alphabet = find_alphabet(config.alphabet, [before[before != ord("*")].tobytes()], path)
    if alphabet.bases_per_letter != 1:
        raise InputError(f"{path}: mutants of codons cannot be read; give the coding sequences: --sequence-column")
    given = _given_wild_type(config, alphabet, Ledger())
    if given is not None:
        wild_type, origin = given, f"from {config.wild_type}"
    else:
        counts = _letter_counts(before, positions.clip(0))
        wild_type = np.where(counts.any(axis=1), counts.argmax(axis=1), alphabet.unknown).astype(np.uint8)
        unknown = int((wild_type == alphabet.unknown).sum())
        left_out = f" ({unknown} of them in no mutant, and left out)" if unknown else ""
        origin = f"put together from what the mutants replace{left_out}"
    known = np.append(wild_type, 0)[np.clip(positions, -1, len(wild_type))]
    wrong = np.flatnonzero(known != before)
    if len(wrong):
        first = int(wrong[0])
        row = int(rows.indices[kept[variants[first]]])
        raise InputError(
            f"{rows.table.place(row)}: {rows.table.column(column)[row]!r} has {befores[first]} at position "
            f"{places[first]}, but the wild type has {chr(known[first]) if known[first] else 'no letter'} there; "
            "positions count from 1: correct the row, the numbering, or --wild-type"
        )
    moved = after != before
    return Variants(
        alphabet=alphabet,
        wild_type=wild_type,
        scores=rows.scores[kept],
        variants=variants[moved],
        positions=positions[moved],
        letters=after[moved],
    ), origin


def _usable_mutants(
    rows: _ScoredRows, config: VariantsConfig, listener: Listener
) -> tuple[list[int], list[list[tuple[str, int, str]]]]:
    """Which of the n rows name a mutant, and the replacements of each as :func:`_replacements` gives them."""
    table, column = rows.table, rows.columns.sequence
    cells = [table.column(column)[row] for row in rows.indices.tolist()]
    found = {index: mutant for index, cell in enumerate(cells) if (mutant := _replacements(cell)) is not None}
    bad = [index for index in range(len(cells)) if index not in found]
    if bad and config.bad_records == "error":
        raise InputError(
            f"{table.place(int(rows.indices[bad[0]]))}: {cells[bad[0]]!r} in column {column!r} is no mutant such as "
            "A24G or A24G:L30P; correct it, name another --mutant-column, or pass --bad-records drop"
        )
    if bad:
        listener.say(f"{table.path}: dropped {len(bad):,} rows whose mutant is none, such as {cells[bad[0]]!r}")
    return list(found), list(found.values())


def _replacements(cell: str) -> list[tuple[str, int, str]] | None:
    """``A24G:L30P``, or HGVS's ``p.[Ala24Gly;Leu30Pro]`` -> (before, position from 1, after) of each; None: neither."""
    text = re.sub(r"p\.|[\[\]()]", "", cell).strip()
    if text.lower() in _WILD_TYPE_WORDS:
        return []
    found = []
    for part in re.split(r"[:;,/+\s]+", text):
        if one := _ONE_LETTER.fullmatch(part):
            before, after = one[1], one[3]
        elif three := _THREE_LETTERS.fullmatch(part):
            from Bio.Data.IUPACData import protein_letters_3to1

            letters = {**protein_letters_3to1, "Ter": "*", "*": "*", "=": "="}
            if three[1] not in letters or three[3] not in letters:
                return None
            one, before, after = three, letters[three[1]], letters[three[3]]
        else:
            return None
        found.append((before, int(one[2]), before if after == "=" else after))
    positions = {position for _, position, _ in found}
    return found if len(positions) == len(found) and max(positions) <= _MAX_POSITION else None


def _given_wild_type(config: VariantsConfig, alphabet: Alphabet, ledger: Ledger) -> NDArray[np.uint8] | None:
    """(L,) letters of the wild type that was given."""
    if config.wild_type is None:
        return None
    path = config.wild_type
    raw = [RawRecord(each.identifier, each.sequence, path, f"{path}:{each.line}") for each in read_fasta(Path(path))]
    if len(raw) != 1:
        raise InputError(f"{path}: has {len(raw)} sequences; the wild type is one")
    return next(RecordReader(alphabet, "error", ledger)(raw)).letters
