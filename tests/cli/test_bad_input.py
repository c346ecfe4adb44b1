"""Input that cannot be used is refused in one line: the file, the line or record, the value, and what to do."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from tests.cli.conftest import SEQUENCES, TINY, Command, fasta, table

S = SEQUENCES[10]

BAD_FASTA = {
    "empty": ("", ["this file is empty"]),
    "blank": ("\n\n \n", ["this file is empty"]),
    "no header": (f"{S}\n>b\n{S}\n", [":1:", "begins with '>'"]),
    "header without a name": (f">\n{S}\n", [":1:", "no name"]),
    "empty sequence": (f">a\n{S}\n>b\n>c\n{S}\n", [":3:", "'b'", "empty sequence", "--bad-records drop"]),
    "nothing but a stop": (f">a\n{S}\n>b\n*\n", [":3:", "'b'", "empty sequence"]),
    "digit": (f">a\n{S}\n>b\nMK1\n", [":3:", "'b'", "'1' at position 3", "--bad-records drop"]),
    "not ASCII": (f">a\n{S}é\n", [":2:", "0xc3", "'a'"]),
    "nucleotides": (">a\n" + "ACGT" * 40 + "\n", ["100%", "A, C, G, T, U or N", "--alphabet protein"]),
}


@pytest.mark.parametrize("name", BAD_FASTA)
def test_bad_fasta(name: str, command: Command, finetuned: Path, tmp_path: Path) -> None:
    text, words = BAD_FASTA[name]
    path = tmp_path / "bad.fasta"
    path.write_bytes(text.encode())
    command("predict", finetuned, path, "-o", tmp_path / "out.csv").refused(path, *words)
    command("embed", finetuned, path, "-o", tmp_path / "out.npz").refused(path, *words)
    command("pretrain", path, "-o", tmp_path / "run", *TINY).refused(path, *words)
    assert not list(tmp_path.glob("out*"))
    assert not (tmp_path / "run/model").exists()


@pytest.mark.parametrize("name", ["wrapped", "crlf", "blank lines", "lower case", "stop", "gz"])
def test_every_spelling_of_a_fasta_gives_the_same_predictions(
    name: str, command: Command, finetuned: Path, inputs: Path, tmp_path: Path
) -> None:
    plain = fasta()
    spellings = {
        "wrapped": "".join(f">p{i}\n{s[:20]}\n{s[20:]}\n" for i, s in enumerate(SEQUENCES)).encode(),
        "crlf": plain.replace("\n", "\r\n").encode(),
        "blank lines": plain.replace(">", "\n>").replace("\n", "\n\n").encode(),
        "lower case": re.sub("(?m)^[A-Z]+$", lambda found: found[0].lower(), plain).encode(),
        "stop": re.sub("(?m)^([A-Z]+)$", r"\1*", plain).encode(),
        "gz": gzip.compress(plain.encode()),
    }
    path = tmp_path / "spelled"
    path.write_bytes(spellings[name])
    assert command("predict", finetuned, path).out == command("predict", finetuned, inputs / "proteins.fasta").out


BAD_TABLES: dict[str, tuple[str | bytes, list[str], list[str]]] = {
    "empty": ("", [], ["this file is empty"]),
    "header only": ("sequence,label\n", [], ["no rows"]),
    "missing label": (table(lambda i: "" if i == 3 else "ab"[i % 2]), [], [":5:", "'p3'", "no label", "'label'"]),
    "no labels": (table(lambda i: ""), [], ["'label' is empty", "--target"]),
    "no labels at all": (table(lambda i: ""), ["--task", "multilabel"], ["'label' is empty", "--target"]),
    "NaN label": (table(lambda i: "nan" if i == 3 else i + 0.5), [], [":5:", "'p3'", "'nan'", "finite"]),
    "NaN class": (table(lambda i: "NaN" if i == 3 else "ab"[i % 2]), [], [":5:", "'NaN'"]),
    "infinite label": (table(lambda i: "-inf" if i == 3 else i + 0.5), [], [":5:", "'-inf'", "finite"]),
    "label beyond 32 bits": (table(lambda i: "1e300" if i == 3 else i + 0.5), [], [":5:", "'1e300'", "too large"]),
    "one class": (table(lambda i: "a"), [], ["'label'", "only one class, 'a'"]),
    "one number": (table(lambda i: 1.5), [], ["'label'", "the same number"]),
    "one row": (table(count=1), [], ["only one class"]),
    "no such label": (table(), ["--target", "lable"], ["'lable'", "did you mean 'label'?"]),
    "no such sequences": (table(), ["--sequence-column", "x"], ["no column 'x'", "'sequence'"]),
    "a column for two parts": (table(), ["--target", "label", "--target", "label"], ["'label'", "two parts"]),
    "two candidates": (table(lambda i: f"{i}.5,{i}", header="u,v"), [], ["u, v", "--target"]),
    "unclosed quote": (table().replace("p3,", '"p3,'), [], [":5:", "quote"]),
    "too many fields": (table().replace("p3,", "p3,x,"), [], [":5:", "4 fields", "header has 3"]),
    "decimal commas": (table(lambda i: f"{i};5").replace(",", "\t").replace(";", ","), [], ["decimal commas", "0,5"]),
    "Latin-1": (table().encode().replace(b"p3", b"p\xe9"), [], [":5:", "0xe9", "UTF-8"]),
    "UTF-16": (table().encode("utf-16"), [], [":1:", "UTF-16"]),
    "25 whole numbers": (table(lambda i: i % 25), [], ["25 different whole numbers", "--task regression"]),
    "many texts": (table(lambda i: f"text {i}"), [], ["40 different texts", "--task classification"]),
    "empty sequence": (table().replace(SEQUENCES[3], ""), [], [":5:", "'p3'", "empty sequence"]),
    "digit in a sequence": (table().replace(SEQUENCES[3], "MK1"), [], [":5:", "'p3'", "'1' at position 3"]),
    "accent in a sequence": (table().replace(SEQUENCES[3], "MKé"), [], [":5:", "'p3'", "'é' at position 3"]),
    "nucleotides": ("sequence,label\n" + "ACGTA,a\nACGTT,b\n" * 20, [], ["'sequence'", "100%", "--alphabet"]),
    "codons": (
        "sequence,label\n" + "ACGTAC,a\nACGTTA,b\n" * 9 + "ACGT,a\n",
        ["--alphabet", "codon"],
        [":20:", "4 bases"],
    ),
    "unknown set": (
        table(lambda i: f"{'ab'[i % 2]},{'foo' if i == 3 else 'train'}", header="label,set"),
        [],
        [":5:", "'foo'", "train"],
    ),
    "no train": (table(lambda i: f"{'ab'[i % 2]},{['test', 'valid'][i % 2]}", header="label,set"), [], ["as train"]),
    "negative weight": (
        table(lambda i: f"{'ab'[i % 2]},{2 - i}", header="label,w"),
        ["--weight-column", "w"],
        [":5:", "'-1'", "at least 0"],
    ),
    "no weight": (
        table(lambda i: f"{'ab'[i % 2]},0", header="label,w"),
        ["--weight-column", "w"],
        ["'w' is 0 in every training row"],
    ),
    "text among numbers": (
        table(lambda i: f"{i}.5,{'x' if i == 3 else i}", header="u,v"),
        ["--target", "u", "--target", "v"],
        [":5:", "'x'", "'v'"],
    ),
    "a column of nothing": (
        table(lambda i: f"{i}.5,", header="u,v"),
        ["--target", "u", "--target", "v"],
        ["'v'", "empty"],
    ),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_table(name: str, command: Command, tmp_path: Path) -> None:
    text, options, words = BAD_TABLES[name]
    path = tmp_path / "bad.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    command("finetune", path, "-o", tmp_path / "run", *TINY, *options).refused(path, *words)
    assert not (tmp_path / "run").exists()


def _residues(label: int, mask: str = "1", odd: str = "") -> str:
    """Labels per residue, of which row 3 has ``label`` more than it should and ``odd`` in its mask."""
    rows = []
    for i, sequence in enumerate(SEQUENCES):
        length = len(sequence) + (label if i == 3 else 0)
        text = mask * len(sequence)
        rows.append(f"p{i},{sequence},{('HEC' * 40)[:length]},{odd + text[len(odd) :] if i == 3 else text}")
    return "\n".join(["id,sequence,label,mask", *rows, ""])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_residues(-1), [":5:", "'p3'", "32", "33 residues"]),
        (_residues(+2), [":5:", "'p3'", "35", "33 residues"]),
        (_residues(0, odd="x"), [":5:", "'p3'", "0 and 1"]),
        (_residues(0, mask="0"), ["'mask'", "every training label"]),
        (_residues(0, odd="1" * 50), [":5:", "50", "'mask'", "33 residues"]),
    ],
    ids=["short", "long", "odd mask", "all masked", "long mask"],
)
def test_bad_residue_labels(text: str, words: list[str], command: Command, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    command("finetune", path, "--target", "label", "--mask-column", "mask", "-o", tmp_path / "run", *TINY).refused(
        path, *words
    )


def test_labels_that_the_task_cannot_take(command: Command, inputs: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text(table(lambda i: f"{i}.5,{i}", header="u,v"))
    two = ("--target", "u", "--target", "v", "--task", "classification")
    command("finetune", path, *two, "-o", tmp_path / "run", *TINY).refused("--task classification", "one --target")
    path = inputs / "classes.csv"
    command("finetune", path, "--mask-column", "id", "-o", tmp_path / "run", *TINY).refused("--mask-column id")


@pytest.mark.parametrize("kept", [9, 200, -8])
def test_truncated_gzip(kept: int, command: Command, finetuned: Path, tmp_path: Path) -> None:
    for name, text in (("a.fasta.gz", fasta(SEQUENCES * 10)), ("a.csv.gz", table(count=400)), ("a", fasta() * 9)):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode(), mtime=0)[:kept])
        command("predict", finetuned, path, "-o", tmp_path / "out.csv").refused(path, "cut short after", "again")
    command("predict", finetuned, "-", stdin=path.read_bytes()).refused("<stdin>", "cut short")
    assert not (tmp_path / "out.csv").exists()


def test_paths_that_are_not_what_they_should_be(
    command: Command, pretrained: Path, finetuned: Path, inputs: Path, tmp_path: Path
) -> None:
    proteins, classes = inputs / "proteins.fasta", inputs / "classes.csv"
    command("predict", finetuned, inputs).refused(inputs, "folder")
    command("predict", finetuned, inputs / "protein.fasta").refused("no such file", "did you mean", proteins)
    command("predict", tmp_path / "nowhere", proteins).refused("nowhere", "no such run directory")
    command("predict", tmp_path, proteins).refused(tmp_path, "not a run directory")
    command("predict", classes, proteins).refused(classes, "is a file")
    command("predict", pretrained, proteins).refused(pretrained, "pretrained without labels", "finetune")
    command("evaluate", pretrained, classes).refused(pretrained, "pretrained without labels", "finetune")
    command("evaluate", finetuned, proteins).refused(proteins, ":1:", "FASTA, not a table")
    command("pretrain", classes, *TINY).refused(classes, ":1:", "looks like a table")
    command("pretrain", "-", *TINY).refused("standard input", "name a file")
    command("finetune", "-", *TINY).refused("standard input", "name a file")
    command("finetune", *TINY).refused("no table was given")
    command("pretrain", *TINY).refused("no FASTA file was given")
    for origin in (tmp_path, tmp_path / "nowhere", classes):
        command("finetune", classes, "--from", origin, "-o", tmp_path / "run", "--steps", "3").refused(origin)


@pytest.mark.parametrize(
    ("output", "words"),
    [("folder", "folder"), ("nowhere/x.csv", "there is no folder"), ("file.csv/x.csv", "there is no folder")],
)
def test_output_that_cannot_be_written(
    output: str, words: str, command: Command, finetuned: Path, inputs: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.csv").write_text("kept")
    path = tmp_path / output
    command("predict", finetuned, inputs / "proteins.fasta", "-o", path).refused(path, words)
    command("evaluate", finetuned, inputs / "classes.csv", "-o", path).refused(path, words)
    arrays = path.with_suffix(".npz")
    if output == "folder":
        arrays.mkdir()
    command("embed", finetuned, inputs / "proteins.fasta", "-o", arrays).refused(arrays, words)
    assert (tmp_path / "file.csv").read_text() == "kept"
    assert not list(tmp_path.rglob("*.tmp-*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "0"], ["--steps 0", "greater than 0"]),
        (["--steps", "many"], ["--steps", "'many'", "seqtrain pretrain --help"]),
        (["--size", "9Q"], ["'9Q'", "100K"]),
        (["--device", "cuda:x"], ["--device cuda:x", "cpu"]),
        (["--device", "cpu:"], ["--device cpu:", "choose"]),
        (["--learning-rate", "nan"], ["--learning-rate nan"]),
        (["--masked-fraction", "1"], ["--masked-fraction 1"]),
        (["--stepz", "3"], ["--stepz", "--steps", "--help"]),
        (["--max-length", "0"], ["--max-length 0"]),
    ],
    ids=" ".join,
)
def test_bad_options(arguments: list[str], words: list[str], command: Command, inputs: Path, tmp_path: Path) -> None:
    path = inputs / "proteins.fasta"
    command("pretrain", path, "-o", tmp_path / "run", "--steps", "3", *arguments).refused(*words)


def test_bad_options_of_a_finished_run(command: Command, finetuned: Path, inputs: Path, tmp_path: Path) -> None:
    path = inputs / "proteins.fasta"
    command("predict", finetuned, path, "--max-length", "-5").refused("--max-length -5")
    command("predict", finetuned, path, "--max-length", "5", "--long", "error").refused(":1:", "'p0'", "30 letters")
    command("predict", finetuned, path, "--alphabet", "dna").refused("--alphabet dna", finetuned, "protein")
    command("embed", finetuned, path, "--layer", "9", "-o", tmp_path / "x.npz").refused("--layer 9", "0 to 2")
    command("embed", finetuned, path, "-o", tmp_path / "x.csv").refused("x.csv", ".npz")


def test_tables_that_cannot_be_scored(command: Command, finetuned: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(table(lambda i: "zz" if i == 5 else "ab"[i % 2]))
    command("evaluate", finetuned, path).refused(f"{path}:7", "'zz'", "(a, b)")
    path.write_text(table(header="lab"))
    command("evaluate", finetuned, path).refused(path, "no column 'label'", "'lab'")
    path.write_text("sequence,label\nMK1,a\n")
    command("evaluate", finetuned, path, "--bad-records", "drop").refused(path, "no usable rows")


def test_too_few_sequences_to_pretrain(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "one.fasta"
    path.write_text(f">a\n{S}\n>b\n{S}\n")
    command("pretrain", path, "-o", tmp_path / "run", *TINY).refused("too few different sequences", "--valid")


def test_a_learning_rate_that_breaks_the_weights(command: Command, inputs: Path, tmp_path: Path) -> None:
    outcome = command("pretrain", inputs / "proteins.fasta", "-o", tmp_path / "run", *TINY, "--learning-rate", "1e9")
    outcome.failed(1, "step ", "learning rate", "the update was not made", "lower --learning-rate")
