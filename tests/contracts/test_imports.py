"""Who may import whom, and what the light parts may load: decisions of the design, kept here."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FORBIDDEN = {
    "seqtrain/io": ("torch", "transformers", "seqtrain.models", "seqtrain.training", "seqtrain.batching"),
    "seqtrain/augment": ("torch", "transformers", "sklearn", "scipy", "seqtrain.io", "seqtrain.models"),
    "seqtrain/encode": ("torch", "transformers", "sklearn", "scipy", "seqtrain.io", "seqtrain.models"),
    "seqtrain/copies": ("torch", "transformers", "sklearn", "scipy", "seqtrain.models"),
    "seqtrain/homology": (
        "torch",
        "transformers",
        "sklearn",
        "seqtrain.models",
        "seqtrain.training",
        "seqtrain.recipes",
    ),
    "seqtrain/tune": ("torch", "transformers", "sklearn", "seqtrain.models", "seqtrain.training", "seqtrain.recipes"),
    "seqtrain/diagnosis": ("seqtrain.tasks", "seqtrain.recipes"),
    **dict.fromkeys(
        [f"seqtrain/{name}.py" for name in ("splitting", "strata", "apportion", "split_ways", "microcosm")],
        ("torch", "transformers", "sklearn", "seqtrain.models", "seqtrain.recipes"),
    ),
    "seqtrain/evaluation": ("torch", "transformers", "seqtrain.models", "seqtrain.report"),
    "seqtrain/report": ("torch", "transformers", "seqtrain.models"),
    "seqtrain/models": ("seqtrain.losses", "seqtrain.tasks", "seqtrain.io", "seqtrain.training", "seqtrain.alphabet"),
    "seqtrain/objectives": ("seqtrain.models", "seqtrain.io", "seqtrain.tasks", "seqtrain.training"),
    "seqtrain/training.py": ("seqtrain.models", "seqtrain.tasks", "seqtrain.io", "seqtrain.alphabet"),
    "seqtrain": ("seqtrain_cli", "cli", "data"),
    "data": ("torch", "seqtrain", "seqtrain_cli"),
}


def _files(place: str) -> list[Path]:
    path = ROOT / place
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _imports(path: Path) -> set[str]:
    """Modules that a file imports outside `if TYPE_CHECKING`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
    return found


@pytest.mark.parametrize("place", FORBIDDEN)
def test_rooms_import_only_what_they_may(place: str) -> None:
    assert _files(place)
    for path in _files(place):
        for module in _imports(path):
            for forbidden in FORBIDDEN[place]:
                assert module != forbidden and not module.startswith(f"{forbidden}."), f"{path} imports {module}"


def _loaded_after(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "statement",
    [
        "import seqtrain.augment",
        "import seqtrain.encode",
        "import seqtrain.io.fasta, seqtrain.io.delimited, seqtrain.io.store",
        "from seqtrain_cli.main import seqtrain; seqtrain.main(['--help'], standalone_mode=False)",
        "import seqtrain_cli.augment, seqtrain.recipes.augment",
        "import seqtrain_cli.pretrain, seqtrain_cli.finetune, seqtrain_cli.predict, seqtrain_cli.embed",
    ],
)
def test_light_parts_stay_light(statement: str) -> None:
    heavy = {"torch", "transformers", "sklearn", "scipy", "pandas", "matplotlib"}
    assert not heavy & _loaded_after(statement)
