"""Each letter is judged as the policy says, nothing is lost on the way, and refusals name the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.alphabet import ALPHABETS
from seqtrain.errors import InputError
from seqtrain.io.ledger import Ledger
from seqtrain.io.records import (
    RawRecord,
    Record,
    RecordReader,
    expand_paths,
    find_alphabet,
    nucleotide_fraction,
    read_fasta_files,
)


def raw(sequence: str | bytes, name: str = "p1", problem: str = "") -> RawRecord:
    text = sequence if isinstance(sequence, bytes) else sequence.encode()
    return RawRecord(name, text, "x.fasta", "x.fasta:3", problem)


def read(
    *sequences: str, alphabet: str = "protein", bad_records: Any = "drop", **fields: Any
) -> tuple[list[str], Ledger]:
    """Texts of what is kept ("" for a bad record that was asked for), and the ledger, which must add up."""
    ledger = Ledger()
    reader = RecordReader(ALPHABETS[alphabet], bad_records, ledger, **fields)
    records = list(reader(raw(sequence, f"p{i}") for i, sequence in enumerate(sequences)))
    ledger.check()
    return [reader.alphabet.text(record.letters) for record in records], ledger


def counted(ledger: Ledger) -> dict[tuple[str, str], tuple[int, int]]:
    """(event, reason) -> (records, letters), without what was read and kept."""
    return {
        (event, reason): (records, letters)
        for _, event, reason, records, letters, _ in ledger.rows()
        if event not in ("read", "kept")
    }


def refusal(sequence: str, alphabet: str = "protein", **fields: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(sequence, alphabet=alphabet, bad_records="error", **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_clean_records_pass_untouched() -> None:
    texts, ledger = read("ACDEFGHIKLMNPQRSTVWY", "MK")
    assert texts == ["ACDEFGHIKLMNPQRSTVWY", "MK"]
    assert ledger.rows() == [("x.fasta", "read", "", 2, 22, ""), ("x.fasta", "kept", "", 2, 22, "")]


def test_lower_case_and_a_final_stop_are_changed_and_counted() -> None:
    texts, ledger = read("acDE", "MK*", "MK**")
    assert texts == ["ACDE", "MK", "MK*"]
    assert counted(ledger) == {
        ("changed", "lower case read as upper case"): (1, 2),
        ("changed", "stop * at the end taken off"): (2, 2),
        ("noted", "odd letter * read as <unk>"): (1, 1),
    }


def test_odd_letters_are_kept_and_counted() -> None:
    texts, ledger = read("MXXBJ", "U*K.-")
    assert texts == ["MXXBJ", "U*K.-"]
    assert counted(ledger) == {
        ("noted", "odd letter B read as its own token"): (1, 1),
        ("noted", "odd letter J read as <unk>"): (1, 1),
        ("noted", "odd letter X read as its own token"): (1, 2),
        ("noted", "odd letter * read as <unk>"): (1, 1),
        ("noted", "odd letter - read as its own token"): (1, 1),
        ("noted", "odd letter . read as its own token"): (1, 1),
        ("noted", "odd letter U read as its own token"): (1, 1),
    }


def test_bad_records_are_dropped_with_their_reason() -> None:
    texts, ledger = read("MK1", "", "*", "MK")
    assert texts == ["MK"]
    assert counted(ledger)[("dropped", "a letter outside the protein alphabet")] == (1, 3)
    assert counted(ledger)[("dropped", "empty sequence")] == (2, 1)


def test_bad_records_stay_in_line_when_asked_for() -> None:
    assert read("MK1", "MK", "", keep_bad=True)[0] == ["", "MK", ""]


def test_refusals_name_place_record_letter_and_next_move() -> None:
    message = refusal("MKKV8K")
    assert message == (
        "x.fasta:3: record 'p0': a letter outside the protein alphabet: '8' at position 5; "
        "correct it, choose another --alphabet, or pass --bad-records drop"
    )
    assert refusal("") == "x.fasta:3: record 'p0': empty sequence; fill it in, or pass --bad-records drop"


@pytest.mark.parametrize(("alphabet", "text"), [("rna", "ACGT"), ("dna", "ACGU"), ("dna", "ACGE"), ("codon", "AC-ACG")])
def test_foreign_letters_of_nucleotides_are_refused(alphabet: str, text: str) -> None:
    assert f"a letter outside the {alphabet} alphabet" in refusal(text, alphabet)


def test_coding_sequences_are_whole_codons() -> None:
    texts, ledger = read("atggcn", "AUGUUU", alphabet="codon")
    assert texts == ["ATGNNN", "ATGTTT"]
    assert counted(ledger)[("noted", "odd letter N read as <unk>")] == (1, 1)
    assert ("noted", "odd letter U read as <unk>") not in counted(ledger)
    assert "not a whole number of codons: 7 bases; trim it to its reading frame" in refusal("ATGGCCA", "codon")


def test_a_stop_is_taken_off_proteins_alone() -> None:
    assert "'*' at position 4" in refusal("ACG*", "dna")


@pytest.mark.parametrize(("long", "event"), [("crop", "cropped"), ("window", "windowed")])
def test_long_records_are_kept_whole_and_counted(long: str, event: str) -> None:
    texts, ledger = read("A" * 10, "A" * 11, max_length=10, long=long)
    assert texts == ["A" * 10, "A" * 11]
    assert counted(ledger) == {(event, "longer than 10 letters"): (1, 11)}


def test_long_records_are_dropped_or_refused_on_request() -> None:
    texts, ledger = read("AC" * 5, "A" * 11, max_length=10, long="drop", bad_records="error")
    assert texts == ["AC" * 5] and counted(ledger) == {("dropped", "too long"): (1, 11)}
    message = refusal("A" * 1100, max_length=1000, long="error")
    assert message.endswith("too long: 1,100 letters, longer than 1,000 letters; pass --long window, crop or drop")
    with pytest.raises(InputError):
        read("A" * 11, max_length=10, long="error", bad_records="drop")


def test_the_limit_of_codons_counts_codons() -> None:
    assert counted(read("ATG" * 10, alphabet="codon", max_length=10)[1]) == {}


def test_repeated_names_and_sequences_are_kept_and_counted() -> None:
    ledger = Ledger()
    reader = RecordReader(ALPHABETS["protein"], "error", ledger)
    records = [*reader([raw("MK", "a"), raw("MK", "b")]), *reader([raw("ML", "a")])]
    assert len(records) == 3
    assert counted(ledger) == {
        ("noted", "sequence seen before, kept"): (1, 0),
        ("noted", "identifier seen before, kept"): (1, 0),
    }


def test_a_problem_of_the_row_makes_a_bad_record() -> None:
    ledger, row = Ledger(), raw("MK", problem="no label: column 'y' is empty")
    assert list(RecordReader(ALPHABETS["protein"], "drop", ledger)([row])) == []
    assert counted(ledger) == {("dropped", "no label"): (1, 2)}
    with pytest.raises(InputError, match=r"x\.fasta:3: record 'p1': no label: column 'y' is empty; correct it, or"):
        list(RecordReader(ALPHABETS["protein"], "error", Ledger())([row]))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(sequences=st.lists(st.binary(max_size=12), max_size=8))
def test_any_bytes_are_accounted_for(sequences: list[bytes]) -> None:
    ledger = Ledger()
    reader = RecordReader(ALPHABETS["protein"], "drop", ledger, keep_bad=True)
    records: list[Record] = list(reader(raw(sequence) for sequence in sequences))
    ledger.check()
    assert len(records) == len(sequences) == ledger.total("read")
    for record, sequence in zip(records, sequences, strict=True):
        text = sequence.upper().removesuffix(b"*")
        good = bool(text) and not set(text) - set(ALPHABETS["protein"].accepted)
        assert record.letters.tobytes() == (text if good else b"")


def test_the_alphabet_is_taken_by_name_or_found() -> None:
    assert all(find_alphabet(name, [], "x") is alphabet for name, alphabet in ALPHABETS.items())
    assert find_alphabet("auto", [b"MKTAYIAKQR" * 20], "x").name == "protein"
    assert find_alphabet("auto", [b"ACGT"], "x").name == "protein", "too few letters to tell"
    with pytest.raises(InputError, match=r"^--alphabet DNA: choose auto, protein, dna, rna, codon$"):
        find_alphabet("DNA", [], "x")
    with pytest.raises(InputError, match=r"^x\.fa: 100% of the letters are A, C, G, T, U or N; .*--alphabet dna"):
        find_alphabet("auto", [b"acgtun" * 30], "x.fa")


def test_the_fraction_of_nucleotides() -> None:
    assert nucleotide_fraction([b"acgu" * 20, b"MKLE" * 5]) == pytest.approx(0.8)
    assert nucleotide_fraction([b"A" * 99]) == 0.0
    assert nucleotide_fraction([b"M" * 1_000_000, b"A" * 10_000_000]) == 0.0


def test_paths_come_in_order_and_once(tmp_path: Path) -> None:
    for name in ("b.fasta", "a.fasta", "c[1].fasta"):
        (tmp_path / name).write_text(">x\nMK\n")
    names = [path.name for path in expand_paths([str(tmp_path / "b.fasta"), str(tmp_path / "[ac]*.fasta")])]
    assert names == ["b.fasta", "a.fasta", "c[1].fasta"]
    assert expand_paths([str(tmp_path / "c[1].fasta")]) == [tmp_path / "c[1].fasta"]
    with pytest.raises(InputError, match="standard input does not allow; name a file"):
        expand_paths(["-"])
    with pytest.raises(InputError, match=r"nothing\*: no such file; check the path"):
        expand_paths([str(tmp_path / "nothing*")])
    with pytest.raises(InputError, match=r"a\.fasta: named more than once"):
        expand_paths([str(tmp_path / "a.fasta"), str(tmp_path / "*.fasta")])


def test_fasta_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_text(">one first\nMK\nLV\n\n>two\nMM\n")
    (tmp_path / "b.fasta").write_text(">three\nWW\n")
    records = list(read_fasta_files([tmp_path / "a.fasta", tmp_path / "b.fasta"]))
    assert [(r.identifier, r.sequence, r.source) for r in records] == [
        ("one", b"MKLV", "a.fasta"), ("two", b"MM", "a.fasta"), ("three", b"WW", "b.fasta"),
    ]  # fmt: skip
    assert records[1].place == f"{tmp_path / 'a.fasta'}:5"
