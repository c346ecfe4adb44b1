"""The shipped sample is what its README says, and Biopython agrees with every coding sequence."""

# mypy: allow-untyped-calls
from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter

import pytest
from Bio import SeqIO
from Bio.Seq import Seq

from seqtrain_data import SAMPLES, sample_path


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with sample_path("chloroplast_functions.csv").open(newline="") as stream:
        return list(csv.DictReader(stream, strict=True))


def test_every_named_sample_is_there_and_no_other() -> None:
    folder = sample_path(SAMPLES[0]).parent
    assert sorted(path.name for path in folder.iterdir()) == sorted([*SAMPLES, "README.md"])


def test_a_typo_lists_the_names() -> None:
    with pytest.raises(
        ValueError, match=r"'chloroplast\.csv'.*chloroplast_functions\.csv.*chloroplast_proteins\.fasta"
    ):
        sample_path("chloroplast.csv")


def test_counts_are_those_of_the_readme(rows: list[dict[str, str]]) -> None:
    assert Counter(row["function"] for row in rows) == {
        "ribosomal protein": 25,
        "photosystem": 20,
        "NADH dehydrogenase": 12,
        "other": 12,
        "ATP synthase": 6,
        "cytochrome b6f": 6,
        "RNA polymerase": 4,
    }
    lengths = [len(row["sequence"]) for row in rows]
    assert (len(lengths), sum(lengths), min(lengths), max(lengths)) == (85, 26409, 29, 2294)
    readme = (sample_path(SAMPLES[0]).parent / "README.md").read_text()
    assert "85 proteins, 26,409 residues, 29 to 2,294 residues" in readme
    for function, count in Counter(row["function"] for row in rows).items():
        assert f"| {function} | {count} |" in readme


def test_the_fasta_holds_the_sequences_of_the_table(rows: list[dict[str, str]]) -> None:
    records = SeqIO.parse(sample_path("chloroplast_proteins.fasta"), "fasta")
    assert [(record.id, str(record.seq)) for record in records] == [
        (row["identifier"], row["sequence"]) for row in rows
    ]


def test_the_fasta_is_wrapped() -> None:
    lines = sample_path("chloroplast_proteins.fasta").read_text().splitlines()
    assert max(len(line) for line in lines if not line.startswith(">")) == 60


def test_coding_sequences_translate_but_for_the_named_starts(rows: list[dict[str, str]]) -> None:
    changed = {}
    for row in rows:
        translated = str(Seq(row["coding_sequence"]).translate(table=11))
        assert translated[1:] == row["sequence"][1:] + "*", row["identifier"]
        if translated[0] != row["sequence"][0]:
            changed[row["identifier"]] = (row["gene"], row["coding_sequence"][:3])
    assert sorted(changed.values()) == [("ndhD", "ACG"), ("rps19", "GTG"), ("ycf1", "GTG"), ("ycf1", "GTG")]


def test_twins_are_the_genes_of_the_inverted_repeat(rows: list[dict[str, str]]) -> None:
    copies = Counter(row["sequence"] for row in rows)
    twins = Counter(row["gene"] for row in rows if copies[row["sequence"]] > 1)
    assert twins == dict.fromkeys(["rps12", "rpl2", "rpl23", "ycf2", "ndhB", "rps7"], 2)
    assert len({row["identifier"] for row in rows}) == 85
    short, long = sorted((row["sequence"] for row in rows if row["gene"] == "ycf1"), key=len)
    assert (len(short), len(long)) == (343, 1786)
    assert long.startswith(short)


def test_importing_the_samples_loads_nothing_heavy() -> None:
    code = "import sys, seqtrain_data; print(sorted({'torch', 'numpy', 'Bio', 'seqtrain'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
