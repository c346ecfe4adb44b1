"""The README cannot rot: its commands and its Python run, and CI runs exactly its test command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.warm_commands import run_command

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader would stand: a folder with the sample in it."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "data").symlink_to(ROOT / "data")
    return folder


def test_commands_run_in_order(folder: Path) -> None:
    lines = [line for block in _blocks("sh") for line in block.splitlines() if line.startswith("seqtrain ")]
    assert len(lines) >= 6
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    # The main job as a reader runs it, by the installed command; what follows need not import everything once more.
    for line in lines[:3]:
        done = subprocess.run(line.split(), cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    for line in lines[3:]:
        code, said = run_command(line, folder)
        assert code == 0, f"{line}\n{said}"
    rows = (folder / "runs/predictions.csv").read_text().splitlines()
    records = (ROOT / "data/samples/chloroplast_proteins.fasta").read_text().count(">")
    assert len(rows) == records + 1
    assert (folder / "runs/functions/report.html").stat().st_size > 10_000


def test_python_runs(folder: Path) -> None:
    training, augmenting = _blocks("python")
    done = subprocess.run([sys.executable, "-c", training], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("True")
    done = subprocess.run([sys.executable, "-c", augmenting], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, several, gene = done.stdout.splitlines()
    assert len(one) == 28 and several.startswith("['M") and len(gene) == 24


def test_ci_runs_the_test_command_of_the_readme() -> None:
    install, test = (line for block in _blocks("bash") for line in block.splitlines())
    assert install.endswith("seqtrain demo")
    assert test in (ROOT / ".ci/run").read_text().splitlines()


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
