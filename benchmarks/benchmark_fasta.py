"""Times seqtrain's FASTA reader against Biopython's two on the same files, in turns in one process.

SimpleFastaParser gives the header as one string, SeqIO.parse parts off the identifier; neither gives lines or refuses
broken input, which seqtrain does.

    python benchmarks/benchmark_fasta.py [--megabytes 50] [--rounds 7]
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from Bio import SeqIO
from Bio.SeqIO.FastaIO import SimpleFastaParser

from seqtrain.io.fasta import read_fasta

RESULTS = Path(__file__).parent / "results" / "fasta.json"
Counts = tuple[int, int]


def write_proteins(path: Path, num_bytes: int, wrap: int | None) -> None:
    """Proteins of 30 to 1,500 residues (log-normal, median 300) under Swiss-Prot-like headers."""
    draws = random.Random(7)
    residues = "".join(draws.choices("ACDEFGHIKLMNPQRSTVWY", k=1_000_000)).encode()
    written = number = 0
    with path.open("wb") as out:
        while written < num_bytes:
            length = min(max(int(draws.lognormvariate(5.7, 0.7)), 30), 1500)
            start = draws.randrange(len(residues) - length)
            sequence = residues[start : start + length]
            if wrap:
                sequence = b"\n".join(sequence[at : at + wrap] for at in range(0, length, wrap))
            header = b">sp|P%05d|NAME%d_HUMAN Protein number %d OS=Homo sapiens OX=9606" % (number, number, number)
            written += out.write(header + b"\n" + sequence + b"\n")
            number += 1


def count_seqtrain(path: Path) -> Counts:
    """Records and residues, through seqtrain."""
    num_records = num_residues = 0
    for record in read_fasta(path):
        num_records += 1
        num_residues += len(record.sequence)
    return num_records, num_residues


def count_simple(path: Path) -> Counts:
    """Records and residues, through Biopython's SimpleFastaParser."""
    num_records = num_residues = 0
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as handle:
        for _, sequence in SimpleFastaParser(handle):
            num_records += 1
            num_residues += len(sequence)
    return num_records, num_residues


def count_seqio(path: Path) -> Counts:
    """Records and residues, through Biopython's SeqIO.parse."""
    num_records = num_residues = 0
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as handle:
        for record in SeqIO.parse(handle, "fasta"):
            num_records += 1
            num_residues += len(record.seq)
    return num_records, num_residues


READERS: dict[str, Callable[[Path], Counts]] = {
    "seqtrain": count_seqtrain,
    "SimpleFastaParser": count_simple,
    "SeqIO.parse": count_seqio,
}


def compare(path: Path, rounds: int) -> dict[str, Any]:
    """Median seconds of each reader, the order turning every round, and how many times faster seqtrain is."""
    seconds: dict[str, list[float]] = {name: [] for name in READERS}
    counts = set()
    for turn in range(rounds + 1):
        for name in list(READERS) if turn % 2 else reversed(READERS):
            start = time.perf_counter()
            counts.add(READERS[name](path))
            if turn:  # the first turn only warms the page cache
                seconds[name].append(time.perf_counter() - start)
    (num_records, num_residues), *others = counts
    if others:
        raise SystemExit(f"{path.name}: the readers disagree: {counts}")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "num_records": num_records,
        "num_residues": num_residues,
        "file_bytes": path.stat().st_size,
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "megaresidues_per_second": {name: round(num_residues / value / 1e6, 1) for name, value in medians.items()},
        "times_faster_than": {name: round(medians[name] / medians["seqtrain"], 2) for name in medians},
    }


def processor() -> str:
    """Model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    """Make the files, time both readers, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=50, help="size of each plain file")
    parser.add_argument("--rounds", type=int, default=7, help="timed readings of each file by each reader")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, wrap in (("one line", None), ("wrapped at 60", 60)):
            path = Path(folder) / f"{name.split()[0]}.fasta"
            write_proteins(path, options.megabytes * 1_000_000, wrap)
            packed = path.with_suffix(".fasta.gz")
            packed.write_bytes(gzip.compress(path.read_bytes(), compresslevel=6))
            results[name] = compare(path, options.rounds)
            results[f"{name}, gzip"] = compare(packed, options.rounds)
    print(f"medians of {options.rounds}, seconds (and how many times faster seqtrain is)")
    print(f"{'':<22}" + "".join(f"{name:>26}" for name in READERS))
    for name, result in results.items():
        cells = (f"{result['seconds'][reader]:.3f} ({result['times_faster_than'][reader]:.2f})" for reader in READERS)
        print(f"{name:<22}" + "".join(f"{cell:>26}" for cell in cells))
    report = {
        "benchmark": "FASTA reading against Biopython's readers, one process, in turns, medians",
        "command": " ".join(["python", "benchmarks/benchmark_fasta.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {"python": platform.python_version(), "biopython": version("biopython")},
        "rounds": options.rounds,
        "results": results,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
