"""Takes the picture of docs/report.md: the report of a small training on made-up families, at two places.

python docs/photograph_report.py [FILE.png]

Needs Chromium or Chrome, and a minute. Browsers and fonts differ, so the picture is not the same everywhere, and no
test compares it with what is drawn, as those of the ``draw_*.py`` beside this file are.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from seqtrain.io.delimited import write_table

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_WIDTH, _HEIGHT = 700, 800
_LETTERS = list("ACDEFGHIKLMNPQRSTVWY")
_FAMILIES = ("kinase", "protease", "transporter", "channel", "chaperone", "ligase")
_ROW = "display:flex;gap:12px;margin:0;padding:12px;background:#d8dde2"


def train(folder: Path) -> Path:
    """Train on sequences of six families that differ in composition, and a little more than by chance; its report."""
    rng = np.random.default_rng(1)
    shares = rng.dirichlet(np.full(len(_LETTERS), 4.0), size=len(_FAMILIES))
    rows = []
    for index in range(700):
        family = int(rng.integers(len(_FAMILIES)))
        sequence = "".join(rng.choice(_LETTERS, size=int(rng.integers(30, 80)), p=shares[family]))
        rows.append((f"protein_{index}", sequence, _FAMILIES[family]))
    write_table(folder / "families.csv", ("id", "sequence", "family"), rows)
    words = (
        "--size",
        "52K",
        "--steps",
        "50",
        "--tokens-per-step",
        "3000",
        "--learning-rate",
        "3e-3",
        "--device",
        "cpu",
    )
    command = ["seqtrain", "finetune", "families.csv", *words, "-o", "runs/families"]
    subprocess.run(command, check=True, cwd=folder)
    return folder / "runs" / "families" / "report.html"


def photograph(report: Path, picture: Path) -> None:
    """Write a PNG of two places of a report side by side.

    Raises:
        SystemExit: no browser is on the PATH.
    """
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(_BROWSERS)} is on the PATH; install one of them")
    text = report.read_text(encoding="utf-8")
    place = text[: text.index("<h2>Map of embeddings</h2>")].rpartition('<section id="')[2].partition('"')[0]
    style = f"border:0;width:{_WIDTH}px;height:{_HEIGHT}px"
    frames = "".join(
        f'<iframe src="{report.resolve().as_uri()}{anchor}" style="{style}"></iframe>' for anchor in ("", f"#{place}")
    )
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(f'<!DOCTYPE html><body style="{_ROW}">{frames}</body>', encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={folder}/profile", f"--window-size={2 * _WIDTH + 36},{_HEIGHT + 24}"]
        command += [f"--screenshot={picture.resolve()}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


def main() -> None:
    default = Path(__file__).parent / "pictures" / "report.png"
    with tempfile.TemporaryDirectory() as folder:
        photograph(train(Path(folder)), Path(sys.argv[1]) if len(sys.argv) > 1 else default)


if __name__ == "__main__":
    main()
