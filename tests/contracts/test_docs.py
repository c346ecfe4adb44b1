"""Pages cannot rot: their Python prints what they say, their commands run, their tables name every field and show the
figures that were measured, their pictures are what is drawn."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import MISSING, dataclass, fields
from io import StringIO
from pathlib import Path
from typing import Any, get_args

import pytest

from seqtrain.alphabet import Alphabet
from seqtrain.augment import Chain, OneOf, RandAugment
from seqtrain.augment.policy import NAMES
from seqtrain.models.activations import Activation
from seqtrain.models.adapters import Lora
from seqtrain.models.heads import Pooling, SequenceHeadConfig
from seqtrain.models.initialisation import Initialisation
from seqtrain.models.network import FreshConfig
from seqtrain.models.noise import Noise
from seqtrain.models.normalization import Norm
from seqtrain.models.stems import Input
from seqtrain.words import name_of
from tests.warm_commands import run_command

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
AUGMENTER_PAGES = sorted((DOCS / "augmenters").glob("*.md"))
RUN = (
    "calibration",
    "contrastive",
    "data_quality",
    "diagnosis",
    "distillation",
    "encoders",
    "evaluation",
    "models",
    "pretraining",
    "pseudo_labels",
    "report",
    "scoring",
    "splits",
    "synthetic_sequences",
    "training_data",
    "transfer",
    "tuning",
)
PAGES = [*AUGMENTER_PAGES, *(DOCS / f"{name}.md" for name in RUN)]
LINKING = [*AUGMENTER_PAGES, *sorted(DOCS.glob("*.md"))]
AUGMENTERS = {**NAMES, "chain": Chain, "one-of": OneOf, "rand-augment": RandAugment}


@dataclass(frozen=True, kw_only=True)
class Block:
    """Python of a page, and what it says that this prints (nothing if it does not say)."""

    line: int
    code: str
    output: str


def blocks(page: str) -> list[Block]:
    """The Python of a page; a block of text right after one is its output."""
    found = re.finditer(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", page, flags=re.MULTILINE | re.DOTALL)
    return [Block(line=page.count("\n", 0, match.start()) + 1, code=match[1], output=match[2] or "") for match in found]


def commands(page: str) -> list[str]:
    """Commands of a page."""
    shells = re.findall(r"^```sh\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    return [line for shell in shells for line in shell.splitlines() if line.startswith("seqtrain ")]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A reader stands in a folder with the sample in it. Blocks of a page share the folder, and nothing else.
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    page = path.read_text(encoding="utf-8")
    for block in blocks(page):
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile(block.code, f"{path.name}:{block.line}", "exec"), {"__name__": "__main__"})
        assert printed.getvalue() == block.output, f"{path.name}:{block.line}"
    for line in commands(page):
        code, said = run_command(line, tmp_path)
        assert code == 0, f"{line}\n{said}"


def test_every_augmenter_has_a_page_with_three_examples() -> None:
    pages = {path.stem: path.read_text(encoding="utf-8") for path in AUGMENTER_PAGES}
    assert set(AUGMENTERS) == set(pages) - {"README"}
    for name in AUGMENTERS:
        python = blocks(pages[name])
        assert len(python) >= 3, name
        assert any("import torch" in block.code for block in python), name
        assert any("sklearn" in block.code for block in python), name
        assert "**When:**" in pages[name] and "**When not:**" in pages[name], name
        assert pages[name].count("\n") <= 120, name
        assert f"]({name}.md)" in pages["README"], name


@pytest.mark.parametrize("name", AUGMENTERS)
def test_tables_name_every_field_and_its_default(name: str) -> None:
    page = (DOCS / "augmenters" / f"{name}.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) \|", page, flags=re.MULTILINE))
    assert table == {
        field.name: "required" if field.default is MISSING else _shown(field.default)
        for field in fields(AUGMENTERS[name])
    }


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, Alphabet):
        return default.name if default.name == "protein" else default.name.upper()
    return default if isinstance(default, str) else f"{default:g}"


def test_the_figures_of_the_audit_are_those_of_the_benchmark() -> None:
    measured = json.loads((ROOT / "benchmarks/results/audit.json").read_text(encoding="utf-8"))["results"]
    page = (DOCS / "augmenters/README.md").read_text(encoding="utf-8")
    proteins = re.search(r"^\| moves of \| (.+?) \| (.+?) \|$", page, flags=re.MULTILINE)
    rows = re.findall(r"^\| (\S.*?) \| (\d+) % \| (\d+) % \|$", page, flags=re.MULTILINE)
    assert proteins and len(rows) == 5
    for name, *shares in rows:
        for protein, share in zip(proteins.groups(), shares, strict=True):
            assert round(100 * measured[protein]["augmenters"][name]["damaging"]["value"]) == int(share), (
                name,
                protein,
            )


def test_models_and_their_choices_are_all_on_the_page() -> None:
    page = (DOCS / "models.md").read_text(encoding="utf-8")
    fields_of_noise = [field.name for field in fields(Noise) if field.name not in ("dropout", "block_size")]
    choices = [get_args(each) for each in (Norm, Activation, Initialisation, Input, Pooling, SequenceHeadConfig)]
    names = [name if isinstance(name, str) else name_of(name) for each in choices for name in each]
    scratch = [name_of(kind) for kind in get_args(FreshConfig)]
    for name in [*names, *scratch, *fields_of_noise, *(field.name for field in fields(Lora))]:
        assert (
            re.search(rf"`(?:[\w-]+[:=])?{re.escape(name)}[`:=]", page) or f"pooling={name}" in page or name == "all"
        ), name


def test_figures_of_the_architectures_are_those_of_the_benchmark() -> None:
    measured = json.loads((ROOT / "benchmarks/results/architectures.json").read_text(encoding="utf-8"))["table"]
    page = (DOCS / "models.md").read_text(encoding="utf-8")
    found = re.findall(
        r"^\| ([\w ,^-]+) \| (\d\.\d{4}) \| (\S+)(?: ± (\S+))? \| (\d) \| (\S+) \|$", page, flags=re.MULTILINE
    )
    rows = {name: rest for name, *rest in found}
    for cell in measured:
        loss, difference, deviation, seeds, seconds = rows[cell["variant"]]
        steps = cell["equal_steps"]
        assert (float(loss), int(seeds)) == (steps["loss"], steps["seeds"])
        assert float(difference.replace("−", "-")) == steps["difference"]
        assert float(deviation or 0) == (steps["sd"] or 0)
        assert seconds == (f"{cell['relative_step_time']:.2f}" if "relative_step_time" in cell else "missing")
    assert len(rows) == len(measured)


def test_pictures_are_those_that_are_drawn(tmp_path: Path) -> None:
    for script in sorted(DOCS.glob("draw_*.py")):
        done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    drawn = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "pictures").glob("*.svg")}
    assert drawn.keys() == kept.keys()
    differing = [name for name in drawn if drawn[name] != kept[name]]
    assert not differing, f"run python docs/draw_pictures.py and docs/draw_schedules.py: {differing}"
    shown = {Path(target).name for path in LINKING for target in _targets(path) if target.endswith(".svg")}
    assert shown == kept.keys()


@pytest.mark.parametrize("path", LINKING, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    for target in _targets(path):
        assert (path.parent / target).exists(), target


def _targets(path: Path) -> list[str]:
    return re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
