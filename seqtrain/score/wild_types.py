"""The proteins that variants are variants of, by their names."""

from __future__ import annotations

from pathlib import Path

from seqtrain.alphabet import Alphabet
from seqtrain.errors import InputError
from seqtrain.io.ledger import Ledger
from seqtrain.io.records import RawRecord, RecordReader, nucleotide_fraction, read_fasta_files

_SHOWN_NAMES = 5


def read_wild_types(path: Path, alphabet: Alphabet, run: Path) -> tuple[dict[str, bytes], Ledger]:
    """Letters by the name of each record, in the order of the file; and what was read.

    Raises:
        InputError: no FASTA, a name that comes twice, or letters that are not of the alphabet that the run reads.
    """
    raw_records = list(read_fasta_files([path]))
    for raw in raw_records:
        _refuse_other_kinds(raw, alphabet, run)
    # Records that are each too short to tell may tell it together.
    if alphabet.name == "protein" and nucleotide_fraction(raw.sequence for raw in raw_records) > 0.9:
        raise InputError(
            f"{path}: the records are written in A, C, G, T, U or N, but {run} reads proteins; translate them first, "
            "or give a run of nucleotides"
        )
    ledger = Ledger()
    wild_types: dict[str, bytes] = {}
    for record in RecordReader(alphabet, "error", ledger)(raw_records):
        if record.identifier in wild_types:
            raise InputError(f"{record.place}: a second record is called {record.identifier!r}; rename one")
        wild_types[record.identifier] = record.letters.tobytes()
    return wild_types, ledger


def _refuse_other_kinds(raw: RawRecord, alphabet: Alphabet, run: Path) -> None:
    """A protein for a run of nucleotides, or nucleotides for a run of proteins, in words that name both."""
    foreign = sorted(set(raw.sequence.upper()) - set(alphabet.accepted))
    proteins = alphabet.name == "protein"
    if not proteins and set(map(chr, foreign)) & set("EFILPQ"):
        raise InputError(
            f"{raw.place}: record {raw.identifier!r} has the letter {chr(foreign[0])}, so it is a protein, but {run} "
            f"reads {alphabet.name} letters; give a run of proteins, or the coding sequence"
        )
    if proteins and nucleotide_fraction([raw.sequence]) > 0.9:
        raise InputError(
            f"{raw.place}: record {raw.identifier!r} is written in A, C, G, T, U or N, but {run} reads proteins; "
            "translate it first, or give a run of nucleotides"
        )


def some_names(wild_types: dict[str, bytes]) -> str:
    """The first names, for messages."""
    names = list(wild_types)
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(names[:_SHOWN_NAMES]) + more
