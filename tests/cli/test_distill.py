"""``seqtrain distill``: used as a user would, and what it refuses in one line that names both sides and the fix."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from seqtrain import scoring
from tests.cli.conftest import SEQUENCES, TINY, Command, fasta, table

STUDENT = (*TINY, "--model", "cnn")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither intervals, simple models nor syncing to disk are looked at here."""
    monkeypatch.setattr(scoring, "_num_resamples", lambda count: 2)
    monkeypatch.setattr("seqtrain.recipes.findings.simple_models", lambda *given: {})
    monkeypatch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of several kinds of labels, and sequences without any."""
    found = tmp_path_factory.mktemp("tables")
    (found / "two.csv").write_text(table())
    (found / "others.csv").write_text(table(lambda i: "bcd"[i % 3]))
    (found / "numbers.csv").write_text(table(lambda i: i * 7 % 11 + 0.5))
    (found / "kelvin.csv").write_text(table(lambda i: 300.5 + i * 7 % 11))
    (found / "renamed.csv").write_text(table(lambda i: i * 7 % 11 + 0.5, header="height"))
    (found / "residues.csv").write_text(
        table(lambda i: "".join("HEC"[(j + i) % 3] for j in range(len(SEQUENCES[i])))),
    )
    (found / "others.fasta").write_text(fasta(["ACDEFGHIKLMNPQ", "MKVLLAACDX", "MKVLLAACDE"]))
    (found / "bases.fasta").write_text(fasta(["ACGTACGTACGT" * 10]))
    (found / "empty.fasta").write_text("")
    return found


@pytest.fixture
def numbers(folder: Path, command: Command) -> Path:
    """A finished regression, trained at first need."""
    run = folder / "of numbers"
    if not run.exists():
        outcome = command("finetune", folder / "numbers.csv", "-o", run, *STUDENT)
        assert outcome.code == 0, outcome.err
    return run


def test_a_student_is_made_continued_and_used(command: Command, folder: Path, finetuned: Path, tmp_path: Path) -> None:
    start = (
        "distill", folder / "two.csv", "--teacher", finetuned, "--unlabeled", folder / "others.fasta", "-o",
        tmp_path / "s", "--temperature", "3", "--augment", "matrix-substitution:rate=0.1", *STUDENT,
    )  # fmt: skip
    dry = command(*start, "--dry-run")
    assert dry.code == 0 and "temperature = 3.0" in dry.err and not (tmp_path / "s").exists()
    outcome = command(*start)
    assert outcome.code == 0, outcome.err
    assert "others.fasta: read 3 records" in outcome.err and "teacher: one network" in outcome.err
    assert "of the student" in outcome.err and "times as fast as the teacher" in outcome.err
    predicted = command("predict", tmp_path / "s", folder / "others.fasta")
    assert predicted.code == 0 and len(predicted.out.splitlines()) == 4
    assert command("evaluate", tmp_path / "s", folder / "two.csv").code == 0
    assert command("export", tmp_path / "s", "--format", "safetensors", "-o", tmp_path / "weights").code in (0, 2)
    again = command(*start)
    assert again.code == 0 and "is finished" in again.err
    command(*start[: -len(STUDENT)], *STUDENT, "--hard-fraction", "0.1").refused("hard_fraction", "--overwrite")
    facts = json.loads((tmp_path / "s/run.json").read_text())["facts"]
    assert facts["kind"] == "distill" and len([name for name in facts if "teacher 1" in name]) >= 2


AUGMENTED = ("--augment", "matrix-substitution:rate=0.1")
REFUSED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "no teacher": ((), ("--teacher", "name a finished run")),
    "missing teacher": (("--teacher", "nowhere"), ("--teacher nowhere", "no such run directory")),
    "same teacher twice": (("--teacher", "RUN", "--teacher", "RUN"), ("named twice",)),
    "own folder": (("--teacher", "RUN", "-o", "RUN"), ("the student is written to", "choose another -o")),
    "pretrained": (("--teacher", "PRETRAINED"), ("pretrained only", "finetune it")),
    "unfinished": (("--teacher", "UNFINISHED"), ("not finished", "rerun its command")),
    "temperature": (("--teacher", "RUN", "--temperature", "0"), ("--temperature 0", "greater than 0")),
    "hard fraction": (("--teacher", "RUN", "--hard-fraction", "1.5"), ("--hard-fraction 1.5", "between 0 and 1")),
    "nan": (("--teacher", "RUN", "--hard-fraction", "nan"), ("--hard-fraction nan", "between 0 and 1")),
    "empty": (("--teacher", "RUN", "--unlabeled", "empty.fasta"), ("empty.fasta", "empty")),
    "no such file": (("--teacher", "RUN", "--unlabeled", "none.fasta"), ("none.fasta", "no such file")),
    "nucleotides": (("--teacher", "RUN", "--unlabeled", "bases.fasta"), ("bases.fasta", "proteins")),
    "nothing learnt from them": (
        ("--teacher", "RUN", "--unlabeled", "others.fasta", "--hard-fraction", "1"),
        ("--hard-fraction 1", "less than 1"),
    ),
    "sampling": (
        ("--teacher", "RUN", "--unlabeled", "others.fasta", "--sampling", "balanced"), ("--sampling balanced", "leave"),
    ),
    "remix": (("--teacher", "RUN", "--unlabeled", "others.fasta", "--mix", "remix"), ("--mix remix", "use mixup")),
    "curriculum": (
        ("--teacher", "RUN", "--unlabeled", "others.fasta", "--curriculum", "easiest-first:column=id"),
        ("--curriculum", "shortest-first"),
    ),
    "groups by a column": (
        ("--teacher", "RUN", "--unlabeled", "others.fasta", "--curriculum", "automatic:by=label"),
        ("--curriculum automatic:by=label", "have no columns", "automatic:by=length"),
    ),
    "cache and augmentation": (
        ("--teacher", "RUN", "--cache-teacher", "--augment", "letter-dropout:rate=0.1"),
        ("--cache-teacher", "--augment letter-dropout:rate=0.1", "--teacher-input clean"),
    ),
    "cache and mixing": (("--teacher", "RUN", "--cache-teacher", "--mix", "mixup"), ("--cache-teacher", "--mix mixup")),
    "cache and crops": (
        ("--teacher", "RUN", "--cache-teacher", "--long", "crop", "--max-length", "20"),
        ("--cache-teacher", "--long crop"),
    ),
    "clean and mixing": (("--teacher", "RUN", "--teacher-input", "clean", "--mix", "mixup"), ("clean", "--mix mixup")),
    "similarity of nothing": (("--teacher", "RUN", "--similarity", "1"), ("--similarity 1", "--augment matrix-")),
    "no weight": (("--teacher", "RUN", "--similarity", "0", *AUGMENTED), ("--similarity 0", "greater than 0")),
    "endless weight": (("--teacher", "RUN", "--similarity", "inf", *AUGMENTED), ("--similarity inf", "finite")),
    "steps of nothing": (("--teacher", "RUN", "--similarity-steps", "5"), ("--similarity-steps 5", "--similarity 10")),
    "no steps": (
        ("--teacher", "RUN", "--similarity", "1", "--similarity-steps", "0", *AUGMENTED),
        ("--similarity-steps 0", "greater than 0"),
    ),
    "similarity and mixing": (
        ("--teacher", "RUN", "--similarity", "1", *AUGMENTED, "--mix", "mixup"), ("--similarity 1", "--mix mixup"),
    ),
    "similarity and clean": (
        ("--teacher", "RUN", "--similarity", "1", *AUGMENTED, "--teacher-input", "clean"),
        ("--similarity 1", "leave --teacher-input clean out"),
    ),
    "similarity and cache": (
        ("--teacher", "RUN", "--similarity", "1", *AUGMENTED, "--cache-teacher"),
        ("--similarity 1", "leave --cache-teacher out"),
    ),
    "similarity and curriculum": (
        ("--teacher", "RUN", "--similarity", "1", *AUGMENTED, "--curriculum", "automatic:by=length"),
        ("--similarity 1", "--curriculum automatic:by=length"),
    ),
    "similarity of one sequence": (
        ("--teacher", "RUN", "--similarity", "1", *AUGMENTED, "--tokens-per-step", "9"),
        ("--tokens-per-step 9", "give at least"),
    ),
    "ensemble of students": (("--teacher", "RUN", "--config", "members.toml"), ("a student is one network",)),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused(
    name: str, command: Command, folder: Path, finetuned: Path, pretrained: Path, tmp_path: Path
) -> None:
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(finetuned / "run.json", unfinished)
    (folder / "members.toml").write_text("members = 3\n")
    places = {"RUN": finetuned, "PRETRAINED": pretrained, "UNFINISHED": unfinished, "nowhere": tmp_path / "nowhere"}
    words, expected = REFUSED[name]
    files = (".fasta", ".toml")
    arguments = [places.get(word, folder / word if word.endswith(files) else word) for word in words]
    output = () if "-o" in words else ("-o", tmp_path / "s")
    outcome = command("distill", folder / "two.csv", *arguments, *output, *STUDENT)
    outcome.refused(*(word.replace("nowhere", str(tmp_path / "nowhere")) for word in expected))
    assert not (tmp_path / "s").exists()


def test_teachers_of_something_else_are_refused(
    command: Command, folder: Path, finetuned: Path, numbers: Path, tmp_path: Path
) -> None:
    def refused(table: str, teacher: Path, *words: object, options: tuple[str, ...] = ()) -> None:
        start = ("distill", folder / table, "--teacher", teacher, "-o", tmp_path / "s", *STUDENT, *options)
        command(*start).refused(f"--teacher {teacher}", *words)

    refused(
        "others.csv", finetuned, "only the teacher has 'a'", f"only {folder / 'others.csv'} has 'c', 'd'", "--target"
    )
    refused("numbers.csv", finetuned, "binary classification of label", "regression of label", "--task")
    refused("residues.csv", finetuned, "binary classification", "per-residue", "--task")
    refused("kelvin.csv", numbers, "other units", "convert the column")
    refused("renamed.csv", numbers, "teaches label", "asks for height", "--target")
    ranking = ("--loss", "pairwise-ranking")
    refused("numbers.csv", numbers, "an order but no scale", "the same --loss", options=ranking)
    temperature = ("distill", folder / "numbers.csv", "--teacher", numbers, "--temperature", "2", "-o", tmp_path / "s")
    command(*temperature, *STUDENT).refused("--temperature 2", "regression of label", "leave it out")
    longer = ("--head", "aligned-head", "--unlabeled", tmp_path / "longer.fasta")
    (tmp_path / "longer.fasta").write_text(">long\n" + "ACDEF" * 12 + "\n")
    start = ("distill", folder / "two.csv", "--teacher", finetuned, "-o", tmp_path / "s", *STUDENT, *longer)
    command(*start).refused("longer.fasta", "60 letters", "the student has weights for 49")
    residues = tmp_path / "of residues"
    assert command("finetune", folder / "residues.csv", "-o", residues, *STUDENT, "--max-length", "30").code == 0
    refused("two.csv", residues, "per-residue", "binary classification")
    refused("residues.csv", residues, "reads 30 letters at once", "--max-length 30")
    clean = ("--teacher-input", "clean", "--max-length", "30")
    start = ("distill", folder / "residues.csv", "--teacher", residues, "-o", tmp_path / "s", *STUDENT, *clean)
    command(*start).refused("--teacher-input clean", "use same")
    command(*start[:-4], "--max-length", "30", "--similarity", "1", *AUGMENTED).refused("--similarity 1", "per residue")
    letters = tmp_path / "bases.csv"
    letters.write_text("sequence,label\n" + "".join(f"{'ACGT' * 5}{'ACGT'[i % 4]},{'ab'[i % 2]}\n" for i in range(20)))
    start = ("distill", letters, "--teacher", finetuned, "-o", tmp_path / "s", *STUDENT, "--alphabet", "dna")
    command(*start).refused("reads protein letters", "as dna", "--alphabet protein")


def test_an_aligned_teacher_finds_every_letter_at_its_place(command: Command, folder: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "aligned"
    assert command("finetune", folder / "two.csv", "-o", teacher, *STUDENT, "--head", "aligned-head").code == 0
    start = ("distill", folder / "two.csv", "--teacher", teacher, "-o", tmp_path / "s", *STUDENT)
    for option, words in (
        ("--augment", "random-insertion:rate=0.2"), ("--max-length", "20"), ("--curriculum", "length-growth:start=9"),
    ):  # fmt: skip
        said = (f"{option} {words}: moves letters", f"--teacher {teacher}", "--teacher-input clean")
        command(*start, option, words).refused(*said)
    (tmp_path / "longer.fasta").write_text(">long\n" + "ACDEF" * 12 + "\n")
    clean = ("--teacher-input", "clean", "--long", "crop", "--max-length", "40")
    command(*start, *clean, "--unlabeled", tmp_path / "longer.fasta").refused("60 letters", f"--teacher {teacher}")
    assert not (tmp_path / "s").exists()
    assert command(*start, "--augment", "random-insertion:rate=0.2", "--teacher-input", "clean").code == 0
