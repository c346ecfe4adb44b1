"""Memory while 80,000 short proteins are embedded with a tiny model: after a tenth, a half, and all of them.

    python benchmarks/benchmark_embed_memory.py

Each format is one process of ``seqtrain embed`` that reads from a pipe. The script looks at the peak of its resident
memory (VmHWM of Linux) each time it has written a share of the records into the pipe, which holds 64 KiB.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import write_report

from seqtrain.alphabet import PROTEIN
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import build
from seqtrain.models.pretrained import save_body
from seqtrain.models.transformer import TransformerConfig

SHARES = (0.1, 0.5, 1.0)
COMMAND = [sys.executable, "-c", "from seqtrain_cli.main import main; main()", "embed"]
CASES = {"npz": ["x.npz"], "hdf5": ["x.h5"], "parquet": ["x.parquet"], "npz per residue": ["x.npz", "--per-residue"]}


def proteins(count: int) -> Iterator[bytes]:
    """FASTA records of 20 to 60 residues."""
    draws = np.random.default_rng(0)
    for number in range(count):
        letters = draws.choice(PROTEIN.standard_letters, draws.integers(20, 61))
        yield b">protein_%07d\n%s\n" % (number, letters.tobytes())


def peak_mebibytes(process: int) -> float:
    """Of the resident memory of a process so far."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024, 1)


def measure(model: Path, folder: Path, options: list[str], count: int) -> dict[str, Any]:
    """Peaks in MiB at the shares, the seconds that all records took, and the size of the file."""
    output, *more = options
    started = time.perf_counter()
    command = [*COMMAND, str(model), "-", "-o", str(folder / output), *more, "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert process.stdin is not None and process.stderr is not None
    marks = {round(count * share): share for share in SHARES}
    peaks = {}
    for number, record in enumerate(proteins(count), start=1):
        process.stdin.write(record)
        if number in marks:
            process.stdin.flush()
            peaks[f"{marks[number]:.0%}"] = peak_mebibytes(process.pid)
    process.stdin.close()
    message = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, message
    peaks["end"] = round(usage.ru_maxrss / 1024, 1)
    return {
        "peak_mebibytes": peaks,
        "seconds": round(time.perf_counter() - started, 1),
        "file_mebibytes": round((folder / output).stat().st_size / 2**20, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proteins", type=int, default=80_000)
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        body = build(TransformerConfig(width=32, depth=1, num_heads=2), LanguageModelHeadConfig()).body
        save_body(folder / "model", body, None, PROTEIN.tokens)
        for case, arguments in CASES.items():
            results[case] = measure(folder / "model", folder, arguments, options.proteins)
            print(case, results[case], flush=True)
    write_report(
        "embed_memory",
        "peak resident memory of seqtrain embed on short proteins, width 32, depth 1",
        packages=("torch", "numpy", "h5py", "pyarrow"),
        proteins=options.proteins,
        results=results,
    )


if __name__ == "__main__":
    main()
