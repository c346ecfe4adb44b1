"""Compare as a user meets it: two tiny runs, a table, a page, and one line for what cannot be done."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.cli.conftest import SEQUENCES, TINY, Command

LABELS = ["a" if i % 2 else "b" for i in range(len(SEQUENCES))]
SETS = ["train"] * 24 + ["valid"] * 6 + ["test"] * (len(SEQUENCES) - 30)


@pytest.fixture
def runs(tmp_path: Path, command: Command) -> list[Path]:
    table = tmp_path / "t.csv"
    rows = [f"{s},{label},{name}" for s, label, name in zip(SEQUENCES, LABELS, SETS, strict=True)]
    table.write_text("sequence,label,set\n" + "\n".join(rows) + "\n")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, baselines in zip(folders, ("linear", "none"), strict=True):
        done = command("finetune", table, *TINY, "-o", folder, "--seed", len(folder.name), "--baselines", baselines)
        assert done.code == 0, done.err
        assert ("without simple models beside, as asked" in done.err) == (baselines == "none")
    return folders


def test_table_page_and_words(runs: list[Path], tmp_path: Path, command: Command) -> None:
    table, page = tmp_path / "c.csv", tmp_path / "c.html"
    done = command("compare", *runs, "-o", table, "--html", page)
    assert done.code == 0, done.err
    assert "cannot be told apart on 10 records" in done.out or "than" in done.out
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [row["run"] for row in rows][:2] == [str(run) for run in runs]
    assert "majority class" in [row["run"] for row in rows] and rows[1]["compared_with"] == str(runs[0])
    assert "<html" in page.read_text(encoding="utf-8")
    again = command("compare", *runs, "--set", "valid", "--metric", "mcc", "--against", "best")
    assert again.code == 0 and "mcc" in again.out
    command("compare", runs[0]).refused("1 run to compare; name two or more")
    command("compare", *runs, "--metric", "acuracy").refused("did you mean accuracy?")
    command("compare", *runs, "--set", "tset").refused("has no set 'tset' but test, valid")
    assert command("compare", *runs, "-o", tmp_path / "none" / "c.csv").code != 0
