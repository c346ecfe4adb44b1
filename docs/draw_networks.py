"""Draws networks, as seqtrain describe --svg does.

python docs/draw_networks.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from seqtrain.network_picture import network_picture
from seqtrain.recipes.describe import Question, describe_source

PICTURES = {
    "network-transformer": Question(model="transformer", size="8M"),
    "network-gated-transformer": Question(model="gated-transformer", size="8M"),
    "network-u-net": Question(model="u-net", size="1M", per_residue=True, outputs=8),
}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for name, question in PICTURES.items():
        picture = network_picture(describe_source(question, inside=True))
        (folder / f"{name}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
