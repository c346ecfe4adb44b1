"""What the tests of the command line share: commands run in this process, small inputs, and one run of each kind."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from seqtrain_cli.main import main
from tests.corpora import proteins

TINY = ("--size", "100K", "--steps", "3", "--num-evaluations", "1", "--device", "cpu")
SEQUENCES = proteins([30 + i % 20 for i in range(40)])


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The last line on stderr."""
        return self.err.splitlines()[-1]

    def refused(self, *words: object) -> None:
        """Assert that the input was refused in one line that holds some words, and that nothing was written out."""
        self.failed(2, *words)
        assert self.out == ""

    def failed(self, code: int, *words: object) -> None:
        """Assert an exit code and a message of one line that holds some words."""
        assert self.code == code, self.err
        assert "Traceback" not in self.err and "unexpected" not in self.err
        assert [line for line in self.err.splitlines() if line.startswith("error:")] == [self.message], self.err
        for word in words:
            assert str(word) in self.message, (word, self.message)


Command = Callable[..., Outcome]


def ended(arguments: tuple[object, ...], capture: pytest.CaptureFixture[str]) -> Outcome:
    """The outcome of a command that was run in this process."""
    capture.readouterr()
    with pytest.raises(SystemExit) as leave:
        main([str(argument) for argument in arguments])
    text = capture.readouterr()
    return Outcome(int(leave.value.code or 0), text.out, text.err)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in this process; ``stdin`` is what stands on its standard input."""

    def run(*arguments: object, stdin: bytes | None = None) -> Outcome:
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin))))
        return ended(arguments, capsys)

    return run


def fasta(sequences: list[str] = SEQUENCES) -> str:
    """Records p0, p1, … of a FASTA file."""
    return "".join(f">p{i}\n{sequence}\n" for i, sequence in enumerate(sequences))


def table(label: Callable[[int], object] = lambda i: "ab"[i % 2], count: int = 40, header: str = "label") -> str:
    """A CSV of identifiers, sequences and labels, which may be several cells under as many names."""
    rows = (f"p{i},{SEQUENCES[i % 40]},{label(i)}" for i in range(count))
    return "\n".join([f"id,sequence,{header}", *rows, ""])


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with proteins.fasta and classes.csv, of the same 40 proteins."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "proteins.fasta").write_text(fasta())
    (folder / "classes.csv").write_text(table())
    return folder


def _trained(*arguments: object) -> None:
    with pytest.raises(SystemExit) as leave:
        main([str(argument) for argument in (*arguments, *TINY)])
    assert leave.value.code == 0


@pytest.fixture(scope="session")
def pretrained(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished pretraining; read only."""
    folder = tmp_path_factory.mktemp("runs") / "pretrained"
    _trained("pretrain", inputs / "proteins.fasta", "-o", folder)
    return folder


@pytest.fixture(scope="session")
def finetuned(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished classification into a and b; read only."""
    folder = tmp_path_factory.mktemp("runs") / "finetuned"
    _trained("finetune", inputs / "classes.csv", "-o", folder)
    return folder
