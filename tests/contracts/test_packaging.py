"""What a wheel holds: every package on disk, under names that start with seqtrain, and the sample."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {"seqtrain": "seqtrain", "cli": "seqtrain_cli", "data": "seqtrain_data"}


def test_packages_are_those_on_disk() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join([SOURCES[folder], *path.parent.relative_to(ROOT / folder).parts])
        for folder in SOURCES
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert set(declared) == found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in (*SOURCES, "pyproject.toml", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "-w", folder, source], check=True)
    return next(folder.glob("*.whl"))


def test_wheel_holds_only_our_names_and_all_files(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"seqtrain", *SOURCES.values()}
    for folder, package in SOURCES.items():
        for path in (ROOT / folder).rglob("*.py"):
            assert f"{package}/{path.relative_to(ROOT / folder)}" in names
    assert "seqtrain_data/samples/chloroplast_proteins.fasta" in names
    assert "seqtrain_data/samples/chloroplast_functions.csv" in names


def test_wheel_installs_and_starts(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "--target", target, wheel], check=True)
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r})\n"
        "import seqtrain_cli.main, seqtrain_data\n"
        f"assert seqtrain_cli.__file__.startswith({str(target)!r})\n"
        "assert seqtrain_data.sample_path('chloroplast_proteins.fasta').exists()\n"
        "seqtrain_cli.main.main(['--version'])\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "version" in done.stdout
