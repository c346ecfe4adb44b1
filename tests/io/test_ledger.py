"""The ledger adds up, or says where it does not."""

from __future__ import annotations

import pytest

from seqtrain.errors import RunError
from seqtrain.io.ledger import HEADER, Ledger


def filled() -> Ledger:
    ledger = Ledger()
    for index in range(7):
        ledger.add("a.fasta", "read", letters=10)
        if index < 5:
            ledger.add("a.fasta", "kept", letters=10)
        else:
            ledger.add("a.fasta", "dropped", "empty sequence", example=f"a.fasta:{index}")
    ledger.add("b.fasta", "read", records=2, letters=2000)
    ledger.add("b.fasta", "kept", records=2, letters=2000)
    ledger.add("b.fasta", "changed", "lower case", records=1, letters=3)
    return ledger


def test_totals_are_over_sources_and_reasons() -> None:
    ledger = filled()
    ledger.add("b.fasta", "dropped", "too long", records=0)
    assert (ledger.total("read"), ledger.total("kept"), ledger.total("dropped")) == (9, 7, 2)
    assert ledger.total("windowed") == 0


def test_a_full_account_passes() -> None:
    Ledger().check()
    filled().check()


@pytest.mark.parametrize("event", ["read", "kept", "dropped"])
def test_one_record_too_many_is_noticed(event: str) -> None:
    ledger = filled()
    ledger.add("b.fasta", event)
    with pytest.raises(RunError, match=r"^b\.fasta: the ledger does not add up: .*'read': "):
        ledger.check()


def test_errors_in_two_sources_do_not_cancel() -> None:
    ledger = filled()
    ledger.add("a.fasta", "kept")
    ledger.add("b.fasta", "read")
    with pytest.raises(RunError):
        ledger.check()


def test_rows_have_the_columns_of_the_header_and_few_examples() -> None:
    ledger = filled()
    for index in range(100):
        ledger.add("a.fasta", "noted", "odd letter X", letters=2, example=f"r{index}")
    rows = ledger.rows()
    assert all(len(row) == len(HEADER) for row in rows)
    assert rows[0] == ("a.fasta", "read", "", 7, 70, "")
    assert rows[2] == ("a.fasta", "dropped", "empty sequence", 2, 0, "a.fasta:5; a.fasta:6")
    source, event, reason, records, letters, examples = rows[-1]
    assert (source, event, reason, records, letters) == ("a.fasta", "noted", "odd letter X", 100, 200)
    assert examples.startswith("r0; r1") and len(examples.split("; ")) < 10


def test_lines_say_it_in_words() -> None:
    lines = filled().lines()
    assert lines[0] == "a.fasta: read 7 records, 70 letters"
    assert lines[2] == "a.fasta: dropped 2 records: empty sequence (such as a.fasta:5; a.fasta:6)"
    assert "b.fasta: read 2 records, 2,000 letters" in lines
    assert lines[-1] == "b.fasta: changed 1 record, 3 letters: lower case"
