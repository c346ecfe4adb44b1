"""Measures how many similar pairs the homology search finds, against all pairs aligned by Biopython, and what it costs.

The reference aligns all pairs of real domains (proteinbert_scop_class, 30 to 300 letters) with Biopython's
PairwiseAligner, BLOSUM62 with gaps of 11 and 1; identical columns and covered letters are read off the score as further
digits, so of alignments with one score it is the one with most identical columns, as ours is. "By chance" means a score
below 60: shorter domains reach 30 % identity over 80 % of their letters without being related, and no search by words
finds these.

    python benchmarks/benchmark_homology.py --data FOLDER [--sequences 2000] [--proteins 50000] [--cache FILE.npz]
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import argparse
import csv
import gzip
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from Bio.Align import PairwiseAligner, substitution_matrices
from numpy.typing import NDArray
from timing import write_report

from seqtrain.alphabet import PROTEIN
from seqtrain.draws import permuted
from seqtrain.homology import Similarity, candidates, homology_clusters, nearest, seeds, similar_pairs
from seqtrain.homology.mmseqs import find_mmseqs, mmseqs_version
from seqtrain.io.fasta import read_fasta
from seqtrain.letters import PackedLetters
from seqtrain.texts import pack_texts

DIGIT = 1 << 12
BY_CHANCE = 60
BUILT_IN = Similarity(method="built-in")


def domains(data: Path, count: int) -> list[str]:
    """Distinct domains, drawn at random."""
    with gzip.open(data / "proteinbert_scop_class.csv.gz", "rt") as file:
        texts = sorted({row["sequence"].upper() for row in csv.DictReader(file)})
    texts = [text for text in texts if 30 <= len(text) <= 300]
    random.Random(7).shuffle(texts)
    return [text.translate(str.maketrans("UOJ", "CKX")) for text in texts[:count]]


def reference_aligner() -> Any:
    """Scores are (score · 4096 + identical) · 4096 + covered letters of the first, shorter sequence."""
    letters = PROTEIN.standard + "BZX"
    blosum, matrix = substitution_matrices.load("BLOSUM62"), substitution_matrices.Array(letters, dims=2)
    for one in letters:
        for other in letters:
            bonus = DIGIT if one == other and one in PROTEIN.standard else 0
            matrix[one, other] = blosum[one, other] * DIGIT * DIGIT + bonus + 1
    aligner = PairwiseAligner()
    aligner.mode, aligner.substitution_matrix = "local", matrix
    aligner.open_insertion_score, aligner.extend_insertion_score = -11.0 * DIGIT * DIGIT, -1.0 * DIGIT * DIGIT
    aligner.open_deletion_score, aligner.extend_deletion_score = 1 - 11.0 * DIGIT * DIGIT, 1 - 1.0 * DIGIT * DIGIT
    return aligner


def _row(job: tuple[int, list[str]]) -> NDArray[np.int32]:
    place, texts = job
    aligner, found = reference_aligner(), []
    for other in range(place + 1, len(texts)):
        shorter, longer = sorted((texts[place], texts[other]), key=len)
        rest, covered = divmod(int(aligner.score(shorter, longer)), DIGIT)
        found.append((place, other, *divmod(rest, DIGIT), covered))
    return np.array(found, np.int32).reshape(-1, 5)


def reference(texts: list[str], cache: Path | None) -> tuple[NDArray[np.int32], float]:
    """(pairs, 5) first, second, score, identical and covered of all pairs, and the seconds it took, of all cores."""
    if cache is not None and cache.exists():
        kept = np.load(cache)
        if kept["texts"].tolist() == texts:
            return kept["pairs"], float(kept["seconds"])
    begin = time.perf_counter()
    with multiprocessing.Pool() as pool:
        pairs = np.concatenate(pool.map(_row, [(place, texts) for place in range(len(texts))], chunksize=4))
    seconds = time.perf_counter() - begin
    if cache is not None:
        np.savez(cache, texts=np.array(texts), pairs=pairs, seconds=seconds)
    return pairs, seconds


def costs(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What work gives, and its seconds."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, {
        "seconds": round(time.perf_counter() - begin, 1),
        "processor_seconds": round(time.process_time() - begin_cpu, 1),
    }


def recalled(texts: list[str], pairs: NDArray[np.int32], found: dict[tuple[int, int], float]) -> dict[str, Any]:
    """Shares of the similar pairs of the reference that were found."""
    lengths = np.array([len(text) for text in texts])
    shorter = np.minimum(lengths[pairs[:, 0]], lengths[pairs[:, 1]])
    identity = pairs[:, 3] / shorter
    similar = (identity >= 0.3) & (pairs[:, 4] / shorter >= 0.8)
    there = [(int(first), int(second)) for first, second in pairs[similar, :2]]
    got, identity, score = np.array([pair in found for pair in there]), identity[similar], pairs[similar, 2]
    groups = {
        "identity >= 0.3": identity >= 0.3,
        "identity >= 0.3, not by chance": score >= BY_CHANCE,
        "identity >= 0.3, 100 letters and more": shorter[similar] >= 100,
        "identity >= 0.5": identity >= 0.5,
    }
    known = dict(zip(there, identity, strict=True))
    return {
        "recall": {
            name: {"pairs": int(group.sum()), "found": round(float(got[group].mean()), 4)}
            for name, group in groups.items()
        },
        "precision": round(sum(pair in known for pair in found) / max(len(found), 1), 4),
        "largest difference of identity": float(
            max((abs(known[pair] - found[pair]) for pair in found if pair in known), default=0.0)
        ),
    }


def crossing(family: NDArray[np.int64], pairs: NDArray[np.int32], texts: list[str]) -> dict[str, int]:
    """Similar pairs that lie in two clusters, so that a split by clusters may part them."""
    lengths = np.array([len(text) for text in texts])
    shorter = np.minimum(lengths[pairs[:, 0]], lengths[pairs[:, 1]])
    similar = (pairs[:, 3] / shorter >= 0.3) & (pairs[:, 4] / shorter >= 0.8)
    parted = similar & (family[pairs[:, 0]] != family[pairs[:, 1]])
    return {
        "similar pairs": int(similar.sum()),
        "in two clusters": int(parted.sum()),
        "of these not by chance": int((parted & (pairs[:, 2] >= BY_CHANCE)).sum()),
        "clusters": int(family.max()) + 1,
    }


def on_domains(texts: list[str], pairs: NDArray[np.int32]) -> dict[str, Any]:
    """Recall and crossing pairs of each way of proposing pairs; those of large sets are made to run on this one."""
    sequences = pack_texts(PROTEIN, texts)
    ways: dict[str, tuple[Similarity, int, tuple[tuple[str, ...], ...] | None]] = {
        "all pairs (sets of this size)": (BUILT_IN, candidates._ALL_PAIRS, None),
        "words, as sensitive as this size allows": (BUILT_IN, -1, None),
        "words, as for 50,000 proteins": (BUILT_IN, -1, (("11010111", "1100101011"),)),
    }
    if find_mmseqs():
        ways["MMseqs2, aligned again"] = (Similarity(method="mmseqs"), -1, None)
    results: dict[str, Any] = {}
    for name, (similarity, at_most, patterns) in ways.items():
        words = seeds.words_of(PROTEIN)
        chosen = words if patterns is None else type(words)(**{**vars(words), "patterns": patterns})
        with (
            mock.patch.object(candidates, "_ALL_PAIRS", at_most),
            mock.patch.object(candidates, "words_of", lambda alphabet, chosen=chosen: chosen),
        ):
            found, cost = costs(lambda similarity=similarity: similar_pairs(sequences, similarity))
            family = _components(len(texts), found.first, found.second)
        both = zip(found.first.tolist(), found.second.tolist(), strict=True)
        keyed = dict(zip(both, found.identity.tolist(), strict=True))
        results[name] = cost | recalled(texts, pairs, keyed) | {"clusters": crossing(family, pairs, texts)}
        print(name, results[name], flush=True)
    return results


def _components(count: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def on_proteins(data: Path, count: int) -> dict[str, Any]:
    """Seconds and memory for the clusters of many proteins, and for the nearest of 1,000 of them."""
    letters = [
        np.frombuffer(record.sequence.upper(), np.uint8) for record in read_fasta(data / "unlabeled_train.fasta.gz")
    ]
    chosen = permuted(np.arange(min(count, len(letters))), len(letters), 7).tolist()
    sequences = PackedLetters.from_sequences([letters[place] for place in chosen])
    results: dict[str, Any] = {"proteins": len(sequences), "letters": len(sequences.letters)}
    families, cost = costs(lambda: homology_clusters(sequences, BUILT_IN, lambda line: print(line, flush=True)))
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    sizes = families.sizes
    results["clusters"] = cost | {
        "peak_megabytes": peak,
        "clusters": len(sizes),
        "largest": int(sizes.max()),
        "alone": int((sizes == 1).sum()),
    }
    print(results, flush=True)
    queries, targets = sequences.selected(np.arange(1000))[0], sequences.selected(np.arange(1000, len(sequences)))[0]
    found, cost = costs(lambda: nearest(queries, targets, BUILT_IN))
    results["nearest of 1,000"] = cost | {"found": int((found.index >= 0).sum())}
    results["MMseqs2 easy-cluster, default sensitivity"] = _easy_cluster(sequences)
    return results


def _easy_cluster(sequences: PackedLetters) -> dict[str, Any] | str:
    program = find_mmseqs()
    if program is None:
        return "missing: mmseqs is not installed"
    with tempfile.TemporaryDirectory() as folder:
        fasta = Path(folder) / "all.fasta"
        with fasta.open("wb") as file:
            for place in range(len(sequences)):
                file.write(b">%d\n%s\n" % (place, sequences[place].tobytes()))
        command = [program, "easy-cluster", str(fasta), f"{folder}/out", f"{folder}/temporary", "--min-seq-id", "0.3"]
        command += ["-c", "0.8", "--cov-mode", "5", "--cluster-mode", "1", "--threads", str(os.cpu_count()), "-v", "1"]
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - begin
        rows = (Path(folder) / "out_cluster.tsv").read_text().splitlines()
    return {
        "version": mmseqs_version(program),
        "seconds": round(seconds, 1),
        "clusters": len({row.partition("\t")[0] for row in rows}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the public data sets")
    parser.add_argument("--sequences", type=int, default=2000, help="domains of which all pairs are aligned; 0: none")
    parser.add_argument("--proteins", type=int, default=50_000, help="proteins that are clustered; 0: none")
    parser.add_argument("--cache", type=Path, help="file that keeps the alignments of Biopython")
    parser.add_argument("--name", default="homology", help="of the result")
    asked = parser.parse_args()
    facts: dict[str, Any] = {"load_of_the_machine_before": round(os.getloadavg()[0], 1)}
    if asked.sequences:
        texts = domains(asked.data, asked.sequences)
        pairs, seconds = reference(texts, asked.cache)
        facts["domains"] = {
            "sequences": len(texts),
            "pairs": len(pairs),
            "biopython_seconds_of_all_cores": round(seconds, 1),
            "results": on_domains(texts, pairs),
        }
    if asked.proteins:
        facts["proteins"] = on_proteins(asked.data, asked.proteins)
    facts["load_of_the_machine_after"] = round(os.getloadavg()[0], 1)
    write_report(
        asked.name,
        "similar pairs found, against all pairs aligned by Biopython; seconds and memory for many proteins",
        packages=["numpy", "biopython"],
        **facts,
    )


if __name__ == "__main__":
    sys.exit(main())
