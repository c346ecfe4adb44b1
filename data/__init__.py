"""The data that ships with the toolkit: small real samples as files, and a generator whose optimum is known."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

SAMPLES = ("chloroplast_functions.csv", "chloroplast_proteins.fasta")
"""Names of the sample files; their origin, licence and counts are in ``samples/README.md``."""


def sample_path(name: str) -> Path:
    """Where the sample file of that name lies.

    Raises:
        ValueError: there is no such sample; the message lists those there are.
    """
    if name not in SAMPLES:
        raise ValueError(f"no sample is called {name!r}; choose one of: {', '.join(SAMPLES)}")
    return Path(str(resources.files(__name__) / "samples" / name))
