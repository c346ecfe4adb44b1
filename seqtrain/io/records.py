"""From files to records: sequences judged letter by letter, with every change and every refusal counted."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import ALPHABETS, Alphabet
from seqtrain.errors import InputError
from seqtrain.io.fasta import read_fasta
from seqtrain.io.ledger import Ledger
from seqtrain.io.seen import Seen

BadRecords = Literal["error", "drop"]
Long = Literal["crop", "window", "drop", "error"]
_NUCLEOTIDES = b"ACGTUN"
_SAMPLED_LETTERS = 1_000_000
_ENOUGH_LETTERS = 100
_TOO_LONG = "too long"
_LOWER_CASE = bytes(range(ord("a"), ord("z") + 1))


@dataclass(frozen=True)
class Record:
    """One sequence as it goes on: upper-case letters of one alphabet."""

    identifier: str
    letters: NDArray[np.uint8]
    """(L,) letters; empty for a bad record that the caller asked to see."""
    source: str
    place: str
    """file:line, for messages."""


@dataclass(frozen=True)
class RawRecord:
    """One sequence as it stands in its file."""

    identifier: str
    sequence: bytes
    source: str
    place: str
    problem: str = ""
    """Why the record cannot be used whatever its sequence is, as "reason" or "reason: detail"."""


class _BadRecordError(Exception):
    """A record that cannot be used: what is wrong with it, where exactly, and what to do."""

    def __init__(self, reason: str, detail: str = "", advice: str = "correct it, or pass --bad-records drop") -> None:
        super().__init__(reason)
        self.reason, self.detail, self.advice = reason, detail, advice


def expand_paths(patterns: Iterable[str]) -> list[Path]:
    """Files named directly or by glob patterns, in the order given; sorted within a pattern.

    Raises:
        InputError: a pattern that matches nothing, a file that does not exist, a file named twice, standard input.
    """
    paths: list[Path] = []
    for pattern in patterns:
        if pattern == "-":
            raise InputError("-: files are read more than once, which standard input does not allow; name a file")
        if Path(pattern).exists():
            found = [Path(pattern)]
        else:
            found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 - absolute patterns
        if not found:
            raise InputError(f"{pattern}: no such file; check the path (it is read relative to {Path.cwd()})")
        paths += found
    repeated = {path for path in paths if paths.count(path) > 1}
    if repeated:
        raise InputError(f"{min(repeated)}: named more than once; name each file once")
    return paths


def read_fasta_files(paths: Iterable[Path]) -> Iterator[RawRecord]:
    """The records of FASTA files, one file after the other."""
    for path in paths:
        source = path.name or str(path)
        for record in read_fasta(path):
            yield RawRecord(record.identifier, record.sequence, source, f"{path}:{record.line}")


def find_alphabet(choice: str, sequences: Iterable[bytes], place: str) -> Alphabet:
    """The alphabet named by ``choice``, or for "auto" the one that the sequences are written in.

    Only proteins are taken without asking: a file that looks like nucleotides might be meant as DNA, RNA or codons.

    Raises:
        InputError: "auto" and more than 90 % of the first letters are A, C, G, T, U or N; an unknown name.
    """
    if choice != "auto":
        if choice not in ALPHABETS:
            raise InputError(f"--alphabet {choice}: choose auto, {', '.join(ALPHABETS)}")
        return ALPHABETS[choice]
    fraction = nucleotide_fraction(sequences)
    if fraction > 0.9:
        raise InputError(
            f"{place}: {fraction:.0%} of the letters are A, C, G, T, U or N; "
            "say what they are: --alphabet dna, rna or codon, or --alphabet protein if they are residues"
        )
    return ALPHABETS["protein"]


def nucleotide_fraction(sequences: Iterable[bytes]) -> float:
    """Fraction of A, C, G, T, U, N among the first million letters; 0 when there are too few letters to tell."""
    letters = nucleotides = 0
    for sequence in sequences:
        upper = sequence.upper()
        letters += len(upper)
        nucleotides += len(upper) - len(upper.translate(None, _NUCLEOTIDES))
        if letters >= _SAMPLED_LETTERS:
            break
    return nucleotides / letters if letters >= _ENOUGH_LETTERS else 0.0


@dataclass
class RecordReader:
    """Turns raw records into records and writes into the ledger what it did. Policy, letter by letter:

    * lower case is read as upper case, and counted;
    * one stop ``*`` at the end of a protein is taken off, and counted;
    * letters without a token (J and inner ``*`` in proteins) stay in the store, are read as ``<unk>``, and counted;
    * T in RNA or U in DNA and any other foreign character make a bad record;
    * an empty sequence, or a coding sequence that is not a whole number of codons, is a bad record;
    * a sequence longer than ``max_length`` is treated as ``long`` says.

    A bad record stops the command (``bad_records="error"``) or is dropped and counted (``"drop"``).
    Records with an identifier or a sequence seen before are kept and counted.
    """

    alphabet: Alphabet
    bad_records: BadRecords
    ledger: Ledger
    max_length: int | None = None
    """Letters; None for no limit."""
    long: Long = "window"
    """What becomes of longer sequences: "crop" and "window" are counted here and done later."""
    keep_bad: bool = False
    """Yield dropped records with no letters, so that a caller can write one row out for every record in."""

    def __post_init__(self) -> None:
        self._identifiers, self._sequences = Seen(), Seen()
        self._tokenless = self.alphabet.tokenless.encode()
        self._standard = (self.alphabet.standard + ("U" if self.alphabet.bases_per_letter == 3 else "")).encode()

    def __call__(self, raw_records: Iterable[RawRecord]) -> Iterator[Record]:
        """Records in their order.

        Raises:
            InputError: a bad record, named by file, line, identifier, position and letter.
        """
        for raw in raw_records:
            self.ledger.add(raw.source, "read", letters=len(raw.sequence))
            try:
                letters = self._judge(raw)
            except _BadRecordError as bad:
                if (self.long if bad.reason == _TOO_LONG else self.bad_records) == "error":
                    name = f"{raw.place}: record {raw.identifier!r}"
                    raise InputError(f"{name}: {bad.reason}{bad.detail}; {bad.advice}") from None
                self.ledger.add(raw.source, "dropped", bad.reason, letters=len(raw.sequence), example=raw.place)
                if self.keep_bad:
                    yield Record(raw.identifier, np.zeros(0, np.uint8), raw.source, raw.place)
                continue
            self.ledger.add(raw.source, "kept", letters=len(letters))
            self._count_duplicates(raw)
            yield Record(raw.identifier, letters, raw.source, raw.place)

    def _judge(self, raw: RawRecord) -> NDArray[np.uint8]:
        if raw.problem:
            reason, colon, detail = raw.problem.partition(": ")
            raise _BadRecordError(reason, colon + detail)
        text = raw.sequence.upper()
        if text != raw.sequence:
            changed = len(raw.sequence) - len(raw.sequence.translate(None, _LOWER_CASE))
            self.ledger.add(raw.source, "changed", "lower case read as upper case", letters=changed)
        if self.alphabet.name == "protein" and text.endswith(b"*"):
            text = text[:-1]
            self.ledger.add(raw.source, "changed", "stop * at the end taken off", letters=1, example=raw.identifier)
        if not text:
            raise _BadRecordError("empty sequence", advice="fill it in, or pass --bad-records drop")
        odd = text.translate(None, self._standard)
        if odd:
            self._judge_odd(raw, text, odd)
        if len(text) % self.alphabet.bases_per_letter:
            raise _BadRecordError(
                "not a whole number of codons",
                f": {len(text)} bases",
                "trim it to its reading frame, use --alphabet dna, or pass --bad-records drop",
            )
        letters = self.alphabet.pack(text)
        if self.max_length is not None and len(letters) > self.max_length:
            self._judge_long(raw, len(letters))
        return letters

    def _judge_long(self, raw: RawRecord, length: int) -> None:
        limit = f"longer than {self.max_length:,} letters"
        if self.long in ("drop", "error"):
            raise _BadRecordError(_TOO_LONG, f": {length:,} letters, {limit}", "pass --long window, crop or drop")
        event = "cropped" if self.long == "crop" else "windowed"
        self.ledger.add(raw.source, event, limit, letters=length, example=raw.identifier)

    def _judge_odd(self, raw: RawRecord, text: bytes, odd: bytes) -> None:
        foreign = odd.translate(None, self.alphabet.accepted)
        if foreign:
            place = text.index(foreign[0])
            raise _BadRecordError(
                f"a letter outside the {self.alphabet.name} alphabet",
                f": {_character(text, place)!r} at position {place + 1}",
                "correct it, choose another --alphabet, or pass --bad-records drop",
            )
        for letter in sorted(set(odd)):
            known = letter not in self._tokenless and self.alphabet.bases_per_letter == 1
            reason = f"odd letter {chr(letter)} " + ("read as its own token" if known else "read as <unk>")
            self.ledger.add(raw.source, "noted", reason, letters=odd.count(letter), example=raw.identifier)

    def _count_duplicates(self, raw: RawRecord) -> None:
        if self._identifiers.add(raw.identifier):
            self.ledger.add(raw.source, "noted", "identifier seen before, kept", example=raw.identifier)
        if self._sequences.add(raw.sequence):
            self.ledger.add(raw.source, "noted", "sequence seen before, kept", example=raw.identifier)


def _character(text: bytes, place: int) -> str:
    """The character that begins at a byte; a table may hold any of Unicode."""
    return text[place : place + 4].decode("utf-8", "replace")[0]
