"""Copies of records, from files to files: what is carried along, what is said, and what is refused."""

from __future__ import annotations

import gzip
import itertools
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from Bio.Seq import Seq

from seqtrain.alphabet import CODON, DNA, PROTEIN
from seqtrain.augment import augment, pack, read_policy
from seqtrain.augment.policy import NAMES
from seqtrain.draws import Draws, record_keys
from seqtrain.io.fasta import read_fasta
from tests.cli.conftest import SEQUENCES, Command, fasta, table
from tests.cli.test_commands import cells
from tests.cli.test_interruption import leavings, started

BLOSUM = "matrix-substitution:rate=0.1"
GENES = ["ATGAAACTGGTGTCTCGTTGG" * n for n in range(2, 8)]


def records(text: str) -> list[tuple[str, str]]:
    """Headers and sequences of FASTA."""
    return [(header, "".join(lines.split())) for header, _, lines in (r.partition("\n") for r in text.split(">")[1:])]


def genes_table(header: str = "id,sequence,label") -> str:
    rows = (f"g{i},{gene},{'ab'[i % 2]}" for i, gene in enumerate(GENES))
    return "\n".join([header, *rows, ""])


@pytest.fixture
def proteins(inputs: Path) -> Path:
    """A FASTA of the 40 proteins."""
    return inputs / "proteins.fasta"


def test_copies_are_those_of_the_library(command: Command, proteins: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.fasta"
    words = [BLOSUM, "cutout:length=4 | random-deletion:rate=0.1"]
    outcome = command("augment", proteins, out, "--with", words[0], "--with", words[1], "--copies", 3, "--seed", 7)
    assert outcome.code == 0, outcome.err
    policy = read_policy(words, PROTEIN)
    found = list(read_fasta(out))
    assert len(found) == 160
    copies = [augment(policy, SEQUENCES, seed=7, epoch=epoch) for epoch in (1, 2, 3)]
    expected = [text for group in zip(SEQUENCES, *copies, strict=True) for text in group]
    assert [record.sequence.decode() for record in found] == expected
    names = [f"p{i}{mark}" for i in range(40) for mark in ("", *(f"|augmented-{c}" for c in (1, 2, 3)))]
    assert [record.identifier for record in found] == names
    assert found[0].description == ""
    assert found[2].description == f'augmented_from=p0 copy=2 seed=7 with="{"; ".join(words)}"'
    assert "wrote 160 records: 40 originals, 120 copies" in outcome.err
    assert "read 40 records" in outcome.err and "kept 40 records" in outcome.err


def test_a_copy_depends_on_its_record_its_number_and_the_seed_alone(
    command: Command, proteins: Path, tmp_path: Path
) -> None:
    few = records(command("augment", proteins, "-", "--with", BLOSUM).out)
    many = records(command("augment", proteins, "-", "--with", BLOSUM, "--copies", 5).out)
    assert [record for record in many if not re.search("augmented-[2-5]", record[0])] == few
    other = tmp_path / "other.fasta"
    # Other content, one bad record among it, at the places of the others: the copies of p20 are the same.
    sequences = ["MKV" * 9 if i != 20 else sequence for i, sequence in enumerate(SEQUENCES)]
    other.write_text(fasta(sequences).replace(">p3\nMKVMKV", ">p3\n123MKV"))
    found = records(command("augment", other, "-", "--with", BLOSUM, "--bad-records", "drop", "--copies", 5).out)
    assert [record for record in found if record[0].startswith("p20|")] == [
        record for record in many if record[0].startswith("p20|")
    ]
    assert len(found) == 39 * 6
    seeded = records(command("augment", proteins, "-", "--with", BLOSUM, "--seed", 1).out)
    assert sum(a[1] == b[1] for a, b in zip(few, seeded, strict=True)) < 50


def test_labels_and_all_columns_are_carried(command: Command, tmp_path: Path) -> None:
    path, out = tmp_path / "in.tsv", tmp_path / "out.csv.gz"
    text = table(lambda i: f'"{i}, ""é"""\t{i % 3}\t', header="label\tset\tnote").replace(",MK", "\tMK")
    path.write_text("\n".join(line.replace(",", "\t", 2) for line in text.splitlines()))
    outcome = command("augment", path, out, "--with", BLOSUM, "--copies", 2)
    assert outcome.code == 0, outcome.err
    given = cells(path.read_text(), "\t")
    rows = cells(gzip.decompress(out.read_bytes()).decode())
    assert list(rows[0]) == [*given[0], "augmented_from", "copy", "augmentation"]
    for i, row in enumerate(rows):
        original = given[i // 3]
        if i % 3 == 0:
            assert row == {**original, "augmented_from": "", "copy": "0", "augmentation": ""}
            continue
        same = {name: row[name] for name in ("label", "set", "note")}
        assert same == {name: original[name] for name in same}
        assert row["id"] == f"{original['id']}|augmented-{i % 3}"
        assert (row["augmented_from"], row["copy"]) == (original["id"], str(i % 3))
        assert row["augmentation"] == f"{BLOSUM} (seed 0)"
        assert len(row["sequence"]) == len(original["sequence"])
    assert len({row["id"] for row in rows}) == 120


def test_standard_input_and_output_give_what_files_give(command: Command, inputs: Path, tmp_path: Path) -> None:
    for name in ("proteins.fasta", "classes.csv"):
        content, out = (inputs / name).read_bytes(), tmp_path / name
        arguments = ("--with", BLOSUM, "--copies", 2)
        assert command("augment", inputs / name, out, *arguments).out == ""
        for given in (content, gzip.compress(content), b"\n" + content):
            assert command("augment", "-", "-", *arguments, stdin=given).out == out.read_text()
        assert command("augment", inputs / name, f"{out}.gz", *arguments).code == 0
        assert gzip.decompress(Path(f"{out}.gz").read_bytes()) == out.read_bytes()
    command("augment", "-", "-", "--with", BLOSUM, stdin=b"").refused("<stdin>", "empty")


def test_an_original_stays_as_it_stands(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "odd.fasta"
    path.write_text(">a first  one\nmkvl\nBXJ*\n>b\nMKVLAAGTW\n")
    outcome = command("augment", path, "-", "--with", "matrix-substitution:rate=1")
    found = records(outcome.out)
    assert found[0] == ("a first  one", "mkvlBXJ*") and found[2] == ("b", "MKVLAAGTW")
    assert found[1][0] == 'a|augmented-1 first  one augmented_from=a copy=1 seed=0 with="matrix-substitution:rate=1"'
    assert found[1][1].endswith("BXJ") and all(a != b for a, b in zip(found[1][1][:4], "MKVL", strict=True))
    assert "stop * at the end taken off" in outcome.err
    assert "13 of 16 letters changed (81.25%)" in outcome.err
    only = records(command("augment", path, "-", "--with", "matrix-substitution:rate=1", "--no-original").out)
    assert only == [found[1], found[3]]


LABELS = "".join(
    f"p{i},{sequence},{('HEC-' * 20)[i : i + len(sequence)]},{('1101' * 20)[: len(sequence)]},{i}\n"
    for i, sequence in enumerate(SEQUENCES[:12])
)
MOVING = [
    "--with",
    "random-insertion:rate=0.1",
    "--with",
    "random-deletion:rate=0.1",
    "--with",
    "random-crop:max_length=25",
]


def moved(sequences: list[str], epoch: int) -> list[tuple[str, list[int]]]:
    """Each sequence after MOVING, and the position that each of its letters comes from."""
    policy = read_policy(MOVING[1::2], PROTEIN)
    packed = pack(sequences, PROTEIN)
    keys = record_keys(0, np.full(len(packed), epoch), np.arange(len(packed)))
    found = policy(packed, Draws(keys))
    bounds, starts = found.packed.boundaries, packed.boundaries
    pairs = []
    for b in range(len(packed)):
        origin = found.origin[bounds[b] : bounds[b + 1]]
        pairs.append((bytes(found.packed[b]).decode(), [int(o - starts[b]) if o >= 0 else -1 for o in origin]))
    return pairs


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_labels_per_residue_follow_their_residues(mask: bool, named: bool, command: Command, tmp_path: Path) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    text = "id,sequence,ss,mask,n\n" + LABELS
    if not mask:
        text = re.sub(",[01]{30,}", "", text.replace("mask,", ""))
    path.write_text(text)
    chosen = ["--per-residue", "ss"] if named else []
    outcome = command("augment", path, out, *MOVING, "--copies", 2, *chosen)
    assert outcome.code == 0, outcome.err
    given, rows = cells(path.read_text()), cells(out.read_text())
    # "-" is a class of this column, so that the next mark stands for no label.
    assert (
        "column 'ss': one character per residue; they follow their residues, and inserted ones get '?'" in outcome.err
    )
    for copy in (1, 2):
        for i, (sequence, origin) in enumerate(moved(SEQUENCES[:12], copy)):
            row = rows[3 * i + copy]
            assert row["sequence"] == sequence
            assert row["ss"] == "".join(given[i]["ss"][o] if o >= 0 else "?" for o in origin)
            ones = given[i]["mask"] if mask else "1" * len(SEQUENCES[i])
            assert row["mask"] == "".join(ones[o] if o >= 0 else "0" for o in origin)
            assert row["n"] == str(i)
    assert [rows[3 * i]["ss"] for i in range(12)] == [row["ss"] for row in given]
    assert {len(row["mask"]) - len(row["sequence"]) for row in rows} == {0}
    assert any("?" in row["ss"] for row in rows)


def test_finetuning_does_not_score_inserted_residues(command: Command, tmp_path: Path) -> None:
    from seqtrain.io.columns import find_columns
    from seqtrain.io.delimited import read_table
    from seqtrain.io.ledger import Ledger
    from seqtrain.io.records import RecordReader
    from seqtrain.labeled import read_labeled
    from seqtrain.losses import IGNORED_CLASS

    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_text("id,sequence,ss\n" + re.sub(",[01]{30,},[0-9]+", "", LABELS))
    assert command("augment", path, out, "--with", "random-insertion:rate=0.2").code == 0
    read = read_table(out)
    reader = RecordReader(PROTEIN, "error", Ledger(), keep_bad=True)
    data = read_labeled(read, find_columns(read, targets=["ss"]), "residue", reader, seed=0)
    inserted = np.frombuffer("".join(read.column("ss")).encode(), np.uint8) == ord("?")
    assert inserted.any()
    assert ((data.targets == IGNORED_CLASS) == inserted).all()


def test_columns_that_only_seem_to_hold_labels_per_residue(command: Command, tmp_path: Path) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_text("sequence,class,again\n" + "".join(f"{s[:5]},alpha,{s[:5]}\n" for s in SEQUENCES))
    outcome = command("augment", path, out, "--with", "random-crop:max_length=3")
    assert "column 'class': almost one character per residue, but all sequences have 5 letters" in outcome.err
    assert {row["class"] for row in cells(out.read_text())} == {"alpha"}
    # The sequence itself, once more, is no label: it stays, and says what the copy was made of.
    assert all(len(row["again"]) == 5 for row in cells(out.read_text()))
    path.write_text(
        "id,sequence,ss\n" + "".join(f"{i},{s},{'H' * (len(s) - (i == 7))}\n" for i, s in enumerate(SEQUENCES))
    )
    outcome = command("augment", path, out, "--with", "random-crop:max_length=20")
    assert "column 'ss': almost one character per residue, but 1 row has another number" in outcome.err
    named = ("--per-residue", "ss")
    command("augment", path, out, "--with", BLOSUM, *named).refused(f"{path}:9", "'7'", "labels and residues differ")
    outcome = command("augment", path, out, "--with", "random-crop:max_length=20", *named, "--bad-records", "drop")
    assert {len(row["ss"]) for row in cells(out.read_text()) if row["copy"] == "1"} == {20}


@pytest.mark.parametrize("column", [False, True])
def test_protected_letters_stay(column: bool, command: Command, proteins: Path, tmp_path: Path) -> None:
    if column:
        path = tmp_path / "in.csv"
        path.write_text(
            "id,sequence,site\n" + "".join(f'p{i},{s},"{i + 1},3 - 5"\n' for i, s in enumerate(SEQUENCES[:29]))
        )
        given = ["--protect-column", "site", "--protect", "1"]
        kept = [{0, 2, 3, 4, i} for i in range(29)]
    else:
        path, given = proteins, ["--protect", "1-4, 45"]
        kept = [{0, 1, 2, 3, 44} for _ in SEQUENCES]
    out = tmp_path / ("out.csv" if column else "out.fasta")
    outcome = command("augment", path, out, "--with", "matrix-substitution:rate=1", "--no-original", *given)
    assert outcome.code == 0, outcome.err
    text = out.read_text()
    found = [row["sequence"] for row in cells(text)] if column else [sequence for _, sequence in records(text)]
    for i, sequence in enumerate(found):
        same = {place for place, (a, b) in enumerate(zip(sequence, SEQUENCES[i], strict=True)) if a == b}
        assert same == {place for place in kept[i] if place < len(sequence)}
    # 20 lengths from 30 to 49, twice: 15 of them are below 45.
    assert ("shorter than the last position of --protect: 30 records" in outcome.err) == (not column)


def test_unique_copies(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "short.fasta"
    path.write_text(">a\nMK\n>b\nMW\n>c\nKW\n")
    words = ("--with", "back-translation", "--copies", 6)
    plain = records(command("augment", path, "-", *words).out)
    outcome = command("augment", path, "-", *words, "--unique")
    unique = records(outcome.out)
    # M and W have one codon, K two; the originals are proteins and cannot stand among the copies.
    assert len(plain) == 18
    assert sorted(sequence for _, sequence in unique) == ["AAATGG", "AAGTGG", "ATGAAA", "ATGAAG", "ATGTGG"]
    assert "left out: 13 copies, as 20 draws gave nothing new (such as of a, b, c)" in outcome.err
    assert "codon sequences, so the originals are left out" in outcome.err
    # What was not redrawn is as it would have been, for any number of copies.
    assert {name for name, _ in plain} >= {name for name, _ in unique if "draw=" not in name}
    assert all(record in plain for record in unique if "draw=" not in record[0])
    longer = records(command("augment", path, "-", *words[:-1], 9, "--unique").out)
    assert longer == unique
    out = command("augment", path, "-", "--with", "matrix-substitution:rate=0", "--unique").out
    assert [name for name, _ in records(out)] == ["a", "b", "c"]
    rate = ("--with", "matrix-substitution:rate=0.3", "--copies", 30, "--unique")
    found = records(command("augment", path, "-", *rate).out)
    assert len(found) == 93 and all(len({s for n, s in found if n[0] == name}) == 31 for name in "abc")


def test_nucleotide_augmentation_in_its_iterative_mode(command: Command, tmp_path: Path) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_text("id,sequence,y\na,MKF,1\nb,MW,2\nc,KIL,3\n")
    outcome = command("augment", path, out, "--with", "iterated-back-translation:code=11", "--copies", 5)
    rows = cells(out.read_text())
    codons = {"M": ["ATG"], "K": ["AAA", "AAG"], "F": ["TTT", "TTC"], "W": ["TGG"], "I": ["ATT", "ATC", "ATA"],
              "L": ["TTA", "TTG", "CTT", "CTC", "CTA", "CTG"]}  # fmt: skip
    expected = [
        (name, protein, "".join(picked), str(number + 1))
        for name, protein in (("a", "MKF"), ("b", "MW"), ("c", "KIL"))
        for number, picked in enumerate(itertools.islice(itertools.product(*(codons[r] for r in protein)), 5))
    ]
    found = [(row["augmented_from"], row["translated_from"], row["sequence"], row["copy"]) for row in rows]
    assert found == expected
    assert "left out: 5 copies, as there are no more coding sequences" in outcome.err
    assert [row["y"] for row in rows] == ["1"] * 4 + ["2"] + ["3"] * 5
    chained = ("--with", "iterated-back-translation", "--with", "synonymous-codons:rate=1", "--copies", 2)
    assert command("augment", path, out, *chained).code == 0
    for row in cells(out.read_text()):
        assert str(Seq(row["sequence"]).translate()) == row["translated_from"]


def test_back_translation_of_a_table(command: Command, inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    outcome = command("augment", inputs / "classes.csv", out, "--with", "back-translation", "--copies", 2)
    rows = cells(out.read_text())
    assert len(rows) == 80
    assert all(str(Seq(row["sequence"]).translate()) == row["translated_from"] for row in rows)
    assert [row["label"] for row in rows] == ["ab"[i // 2 % 2] for i in range(80)]
    assert "in column 'translated_from'" in outcome.err and "letters changed" not in outcome.err
    refused = command("augment", inputs / "classes.csv", out, "--with", "back-translation", "--keep-original")
    refused.refused("--keep-original", "protein", "codon")


def test_coding_sequences(command: Command, tmp_path: Path) -> None:
    path, out = tmp_path / "genes.csv", tmp_path / "out.csv"
    words = ("--with", "synonymous-codons:rate=1", "--alphabet", "codon")
    path.write_text(genes_table())
    assert command("augment", path, out, *words).code == 0
    rows = cells(out.read_text())
    for original, copy in zip(rows[::2], rows[1::2], strict=True):
        assert original["sequence"] != copy["sequence"]
        assert Seq(original["sequence"]).translate() == Seq(copy["sequence"]).translate()
    # RNA stays RNA, and a codon with an ambiguous base keeps it.
    path.write_text("id,sequence\na,AUGAARCUNGUGUCU\n")
    command("augment", path, out, *words)
    copy = cells(out.read_text())[1]["sequence"]
    assert re.fullmatch("AUGAARCUNGU[UCA]...", copy) and "T" not in copy
    path.write_text(re.sub("g2,[ACGT]+", "g2,ATGTAAAAA", genes_table()))
    command("augment", path, out, *words).refused(f"{path}:4", "'g2'", "codon 2 (bases 4 to 6), TAA", "genetic code 1")
    # Which of them are stops depends on the code, and where none is read nothing is one.
    path.write_text(re.sub("g2,[ACGT]+", "g2,ATGTGAAAA", genes_table()))
    command("augment", path, out, *words).refused("TGA")
    assert command("augment", path, out, "--with", "synonymous-codons:rate=1,code=4", *words[2:]).code == 0
    assert command("augment", path, out, "--with", "random-crop:max_length=2", *words[2:]).code == 0
    outcome = command("augment", path, out, *words, "--bad-records", "drop")
    assert "dropped 1 record, 9 letters: a stop before the end" in outcome.err


def test_reverse_complements_and_lengths_in_the_summary(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "dna.fasta"
    path.write_text("".join(f">g{i}\n{gene}\n" for i, gene in enumerate(GENES)))
    words = ("--with", "reverse-complement:probability=1", "--alphabet", "dna")
    found = records(command("augment", path, "-", *words).out)
    for (_, original), (_, copy) in zip(found[::2], found[1::2], strict=True):
        assert copy == str(Seq(original).reverse_complement())
    outcome = command("augment", path, "-", "--with", "random-crop:max_length=50", "--alphabet", "dna")
    total = sum(map(len, GENES))
    cut = sum(min(50, len(gene)) for gene in GENES)
    assert f"0 of {cut} letters changed (0.00%), {total - cut} deleted" in outcome.err
    assert f"42 to 147 (mean {total / 6:.1f}) before, 42 to 50 (mean {cut / 6:.1f}) after" in outcome.err
    policy = read_policy(["random-crop:max_length=50"], DNA)
    assert [s for _, s in records(outcome.out)][1::2] == augment(policy, GENES, seed=0, epoch=1)


def test_dry_run_shows_and_writes_nothing(command: Command, proteins: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.fasta"
    words = ("--with", BLOSUM, "--with", "random-insertion:rate=0.1", "--with", "random-deletion:rate=0.1")
    outcome = command("augment", proteins, out, *words, "--dry-run")
    assert outcome.code == 0 and outcome.out == "" and not list(tmp_path.iterdir())
    assert command("augment", proteins, *words, "--dry-run").err == outcome.err
    lines = outcome.err.splitlines()
    start = lines.index("p0, copy 1") + 1
    before, after, marks = (line[2:].ljust(len(lines[start]) - 2) for line in lines[start : start + 3])
    (_, original), (_, copy) = records(command("augment", proteins, "-", *words).out)[:2]
    assert before.replace("·", "") == original and after.replace("·", "") == copy
    for a, b, mark in zip(before, after, marks, strict=True):
        assert mark == {a == b: " ", a == "·": "+", b == "·": "-"}.get(True, "*")
    shown = command("augment", proteins, "--dry-run", "--with", "back-translation").err
    assert "  " + "  ".join(SEQUENCES[0][:30]) in shown


def test_the_list_of_augmenters_comes_from_their_classes(command: Command) -> None:
    listed = command("augment", "--list").out
    shown = command("augment", "--help").out
    for name, kind in NAMES.items():
        assert re.search(f"^{name}$", listed, re.MULTILINE)
        assert re.search(f"^  {name}  ", shown, re.MULTILINE)
        part = listed.partition(f"\n{name}\n")[2] if not listed.startswith(name) else listed
        for field in fields(kind):
            assert field.name == "alphabet" or field.name in part.split("\n\n")[0]
    assert "Expected fraction of the standard letters that change." in listed
    assert "iterated-back-translation" in listed and "iterated-back-translation" in shown
    assert "synonymous-codons:rate=f,probability=1-t" in " ".join(shown.split())


def test_a_split_that_would_be_augmented_is_told_of(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(table(lambda i: f"{i},{['train', 'test'][i % 2]}", header="label,set"))
    outcome = command("augment", path, "-", "--with", BLOSUM)
    assert "column 'set': copies of held-out records are made too" in outcome.err


def test_nothing_needs_torch(inputs: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom seqtrain_cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as leave:\n    assert not leave.code\n"
        "print(*{'torch', 'transformers', 'scipy', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    arguments = [
        "augment",
        inputs / "classes.csv",
        tmp_path / "out.csv",
        "--with",
        BLOSUM,
        "--with",
        "back-translation",
    ]
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


BAD_OPTIONS: dict[str, tuple[list[str], list[str]]] = {
    "nothing to do": ([], ["--with is missing"]),
    "a typo": (["--with", "matrix-substitutoin:rate=1"], ["did you mean 'matrix-substitution'?"]),
    "a rate": (["--with", "matrix-substitution:rate=1.5"], ["rate", "1.5"]),
    "a chain": (["--with", "back-translation", "--with", BLOSUM], ["matrix-substitution", "protein", "codon"]),
    "an alphabet": (["--with", "synonymous-codons:rate=1"], ["codon", "protein"]),
    "iterated last": (["--with", BLOSUM, "--with", "iterated-back-translation"], ["it first"]),
    "iterated field": (["--with", "iterated-back-translation:temperature=2"], ["iterated", "code and usage"]),
    "iterated code": (["--with", "iterated-back-translation:code=999"], ["999"]),
    "no copies": (["--with", BLOSUM, "--copies", "0"], ["--copies 0"]),
    "half a copy": (["--with", BLOSUM, "--copies", "1.5"], ["'1.5'", "whole number"]),
    "position 0": (["--with", BLOSUM, "--protect", "0-5"], ["--protect", "'0-5'"]),
    "backwards": (["--with", BLOSUM, "--protect", "1,9-5"], ["--protect", "'9-5'"]),
    "no position": (["--with", BLOSUM, "--protect", "x"], ["--protect", "'x'", "1-20"]),
    "a column of FASTA": (["--with", BLOSUM, "--protect-column", "site"], ["'site'", "--protect-column"]),
    "labels of FASTA": (["--with", BLOSUM, "--per-residue", "ss"], ["'ss'", "--per-residue"]),
    "sequences of FASTA": (["--with", BLOSUM, "--sequence-column", "seq"], ["'seq'", "--sequence-column"]),
    "foreign letters": (["--with", "reverse-complement", "--alphabet", "dna"], [":1:", "'p0'", "dna alphabet"]),
    "protected too wide": (
        ["--with", "random-crop:max_length=5", "--protect", "1,30"],
        ["proteins.fasta:1: record 'p0'", "protected letters", "5 of a crop"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options(name: str, command: Command, proteins: Path, tmp_path: Path) -> None:
    options, words = BAD_OPTIONS[name]
    command("augment", proteins, tmp_path / "out.fasta", *options).refused(*words)
    assert not list(tmp_path.iterdir())


BAD_TABLES: dict[str, tuple[str, list[str], list[str]]] = {
    "no such column": (table(), ["--sequence-column", "x"], ["no column 'x'"]),
    "no such labels": (table(), ["--per-residue", "x"], ["no column 'x'"]),
    "no such positions": (table(), ["--protect-column", "x"], ["no column 'x'"]),
    "labels that are something else": (table(), ["--per-residue", "sequence"], ["'sequence'", "another part"]),
    "labels of another length": (table(), ["--per-residue", "label"], [":2:", "'p0'", "1 in column 'label'"]),
    "a position beyond": (table(lambda i: 99 if i == 3 else ""), ["--protect-column", "label"], [":5:", "99 of 33"]),
    "no positions": (table(lambda i: "a-b"), ["--protect-column", "label"], [":2:", "'p0'", "'a-b'"]),
    "empty sequence": (table().replace(SEQUENCES[3], ""), [], [":5:", "'p3'", "empty sequence"]),
    "foreign letter": (table().replace(SEQUENCES[3], "MK1"), [], [":5:", "'p3'", "'1' at position 3"]),
    "nucleotides": ("sequence\n" + "ACGTACGT\n" * 20, [], ["100%", "--alphabet"]),
    "a column that is written": (table(header="copy"), [], ["'copy'", "there already"]),
    "augmented before": (
        table().replace("p5,", "p3|augmented-1,"), [], [":7:", "'p3|augmented-1'", "copies were made of this input"],
    ),
    "augmented before, the other way round": (
        table().replace("p3,", "p5|augmented-1,"), [], [":7:", "'p5'", "copies were made of this input"],
    ),
    "a mask that is none": (
        "id,sequence,ss,mask\n" + "".join(f"{i},{s},{'H' * len(s)},no\n" for i, s in enumerate(SEQUENCES)),
        ["--with", "random-insertion:rate=0.1"],
        ["'mask'", "0 and 1"],
    ),
    "nothing left": ("id,sequence\na,MK1\nb,MK2\n", ["--bad-records", "drop"], ["no usable record is left of 2", ":2"]),
    "codons": ("sequence\n" + "ACGTAC\n" * 9 + "ACGT\n", ["--alphabet", "codon"], [":11:", "4 bases"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables(name: str, command: Command, tmp_path: Path) -> None:
    text, options, words = BAD_TABLES[name]
    path, out = tmp_path / "bad.csv", tmp_path / "out.csv"
    path.write_text(text)
    given = ["--with", "random-deletion:rate=0.1", *options]
    command("augment", path, out, *given).refused(path, *words)
    command("augment", path, "-", *given).refused(path, *words)
    assert not out.exists() and not leavings(tmp_path)


def test_equal_identifiers_give_copies_of_different_names(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "same.fasta"
    path.write_text(f">a\n{SEQUENCES[0]}\n>a\n{SEQUENCES[1]}\n>a\n{SEQUENCES[2]}\n")
    found = records(command("augment", path, "-", "--with", BLOSUM, "--no-original").out)
    assert [name.split()[0] for name, _ in found] == [
        "a|augmented-1",
        "a|record-2|augmented-1",
        "a|record-3|augmented-1",
    ]
    assert all("augmented_from=a " in name for name, _ in found)


def test_paths_that_are_not_what_they_should_be(command: Command, inputs: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.fasta"
    source.write_text(fasta())
    (tmp_path / "link.fasta").symlink_to(source)
    (tmp_path / "hard.fasta").hardlink_to(source)
    words = ("--with", BLOSUM)
    for same in (source, tmp_path / "link.fasta", tmp_path / "hard.fasta", tmp_path / "." / "in.fasta"):
        command("augment", source, same, *words).refused(same, "is the input too")
    assert source.read_text() == fasta()
    command("augment", source, tmp_path / "out.csv", *words).refused("out.csv", "is FASTA", "name it .fasta")
    command("augment", inputs / "classes.csv", tmp_path / "out.fa.gz", *words).refused("out.fa.gz", "is a table")
    command("augment", inputs / "classes.csv", tmp_path / "x.parquet", *words).refused("x.parquet", "name it .csv")
    command("augment", source, tmp_path / "nowhere" / "x.fasta", *words).refused("nowhere", "there is no folder")
    command("augment", source, tmp_path, *words).refused(tmp_path, "folder")
    command("augment", tmp_path / "inn.fasta", "-", *words).refused("no such file", "did you mean", source)
    command("augment", source, *words).refused("IN and OUT", "augment --help")
    assert not leavings(tmp_path)


def test_parquet(command: Command, inputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import table as arrow_table
    from pyarrow.parquet import write_table

    columns = {
        name: [row[name] for row in cells((inputs / "classes.csv").read_text())] for name in ("id", "sequence", "label")
    }
    write_table(arrow_table(columns), tmp_path / "in.parquet")
    found = command("augment", tmp_path / "in.parquet", "-", "--with", BLOSUM).out
    assert found == command("augment", inputs / "classes.csv", "-", "--with", BLOSUM).out


def test_an_interrupted_command_leaves_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "x.fasta"
    out.write_text("kept")
    process = started("augment", "-", out, "--with", BLOSUM, stdin=subprocess.PIPE)
    assert process.stdin is not None and process.stderr is not None
    process.stdin.write(fasta(SEQUENCES * 1000))  # more than a block, and no end
    process.stdin.flush()
    until = time.monotonic() + 60
    while not leavings(tmp_path) and time.monotonic() < until:
        time.sleep(0.02)
    assert leavings(tmp_path)
    process.send_signal(signal.SIGTERM)
    told = process.stderr.read()
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert "Traceback" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["x.fasta"] and out.read_text() == "kept"


def test_memory_does_not_grow_with_the_input(command: Command, tmp_path: Path) -> None:
    path, peaks = tmp_path / "in.fasta", []
    for times in (100, 400):
        path.write_text(fasta(["".join(SEQUENCES) * 20] * times))
        tracemalloc.start()
        assert command("augment", path, tmp_path / "x.fasta", "--with", BLOSUM).code == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 3 MB, beyond one block, and then 12 MB.
    assert peaks[1] < peaks[0] + 2e6


def test_the_library_agrees_about_codons(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "genes.csv"
    path.write_text(genes_table())
    words = "synonymous-codons:rate=0.5,probability=0.5"
    rows = cells(command("augment", path, "-", "--with", words, "--alphabet", "codon", "--no-original").out)
    policy = read_policy([words], CODON)
    assert [row["sequence"] for row in rows] == augment(policy, GENES, seed=0, epoch=1)
    assert 0 < sum(row["sequence"] == gene for row, gene in zip(rows, GENES, strict=True)) < len(GENES)
