"""What a report reads back of a run's files."""

from __future__ import annotations

from pathlib import Path

from seqtrain.recipes.reported_run import ledger_of


def test_names_of_records_that_look_like_numbers_stay_as_they_are(tmp_path: Path) -> None:
    rows = "p.fasta,kept,,2,60,\np.fasta,dropped,empty sequence,1,0,0012345\np.fasta,noted,seen before,1,9,²\n"
    (tmp_path / "ledger.csv").write_text(f"source,event,reason,records,letters,examples\n{rows}")
    table = ledger_of(tmp_path)
    assert [row[3:] for row in table.rows] == [(2, 60, ""), (1, 0, "0012345"), (1, 9, "²")]
