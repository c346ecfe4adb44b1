"""MMseqs2 (Steinegger & Söding 2017, Nat Biotechnol 35:1026) as a source of pairs, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import Alphabet
from seqtrain.errors import RunError
from seqtrain.letters import PackedLetters

Hits = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def find_mmseqs() -> str | None:
    """The program on the PATH, or None."""
    return shutil.which("mmseqs")


@cache
def mmseqs_version(program: str) -> str:
    """As the program says it."""
    done = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "of unknown version"


def mmseqs_hits(
    program: str, queries: PackedLetters, targets: PackedLetters | None, alphabet: Alphabet, threads: int
) -> Hits:
    """Query, target and score per letter (C,) each, at the program's own sensitivity, by query, then by target.

    Args:
        targets: None to compare the queries among themselves, each pair once, the earlier one being the query.

    Raises:
        RunError: the program fails; says its last line.
    """
    empty = np.zeros(0, np.int64)
    others = queries if targets is None else targets
    if not len(queries.letters) or not len(others.letters):
        return empty, empty, np.zeros(0)
    with tempfile.TemporaryDirectory(prefix="seqtrain-mmseqs-") as name:
        folder = Path(name)
        _write(folder / "queries.fasta", queries, alphabet)
        if targets is not None:
            _write(folder / "targets.fasta", targets, alphabet)
        other = folder / ("queries.fasta" if targets is None else "targets.fasta")
        # Far beyond what is significant: whether a hit is similar is judged by its identity, not by its score.
        command = [program, "easy-search", str(folder / "queries.fasta"), str(other), str(folder / "hits.tsv")]
        command += [str(folder / "temporary"), "-e", "10", "--max-seqs", "300", "-v", "1"]
        command += ["--threads", str(threads), "--format-output", "query,target,raw"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise RunError(f"mmseqs ended with {done.returncode}: {said[-1] if said else 'no message'}; try built-in")
        table = np.loadtxt(folder / "hits.tsv", ndmin=2)
    if not table.size:
        return empty, empty, np.zeros(0)
    query, target, score = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2]
    if targets is None:
        query, target = np.minimum(query, target), np.maximum(query, target)
        different = query != target
        query, target, score = query[different], target[different], score[different]
    order = np.lexsort((-score, target, query))
    leads = np.flatnonzero(np.diff(query[order] * len(others) + target[order], prepend=-1))
    query, target, score = query[order[leads]], target[order[leads]], score[order[leads]]
    return query, target, score / np.maximum(np.minimum(queries.lengths[query], others.lengths[target]), 1)


def _write(path: Path, sequences: PackedLetters, alphabet: Alphabet) -> None:
    """A FASTA file of the sequences that have letters, named by their number."""
    with path.open("w", encoding="ascii", errors="replace") as file:
        for number in np.flatnonzero(sequences.lengths):
            text = alphabet.text(sequences[int(number)])
            file.write(f">{number}\n{text.translate(_UNKNOWN)}\n")


_UNKNOWN = str.maketrans({"-": "X", ".": "X", "*": "X", "J": "X"})
