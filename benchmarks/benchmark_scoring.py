"""How well do scores of a masked language model rank the variants of TEM-1, and how fast are they made?

A transformer is pretrained from scratch by this project on real proteins, once for each seed, and scores the 4,997
single variants of Stiffler et al. 2015 (one protein, one assay: it says how well this works there, not in general).
Beside it stand floors that know no other protein, and two published figures. Pseudo-log-likelihoods take a pass per
residue of every variant, so they are made for some of the variants, drawn once for all seeds; the other methods are
shown for these too. Time is compared with a plain loop over transformers' EsmForMaskedLM on the same weights: CPU
seconds of one thread, as the machine may be shared. What was computed is kept in the result file: a benchmark that is
started again goes on with what is missing.

    python benchmarks/benchmark_scoring.py --data FOLDER [--residues 3e6] [--size 1M] [--seeds 3] [--minutes 60]
    python benchmarks/benchmark_scoring.py --data FOLDER --model RUN_OR_FOLDER
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import csv
import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from timing import RESULTS, write_report

Array = NDArray[np.float64]
METHODS = ("masked-marginal", "wild-type-marginal", "pseudo-log-likelihood")
PUBLISHED = {
    "ESM-2 8M": 0.399,
    "site-independent model of an alignment": 0.466,
    "source": "ProteinGym (Notin et al. 2023, NeurIPS 36), zero-shot Spearman on BLAT_ECOLX_Stiffler_2015",
}
_PEER_VARIANTS = 2


def read_variants(folder: Path) -> tuple[str, list[str], Array]:
    """The wild type, the variants as H24A, and what was measured."""
    with gzip.open(folder / "dms_blat_ecolx_stiffler2015.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    first = rows[0]["mutant"]
    position = int(first[1:-1]) - 1
    wild_type = rows[0]["sequence"][:position] + first[0] + rows[0]["sequence"][position + 1 :]
    return wild_type, [row["mutant"] for row in rows], np.array([float(row["score"]) for row in rows])


def floors(mutants: list[str], measured: Array) -> dict[str, float]:
    """Spearman's correlation of what knows nothing but the two residues, or not even these."""
    from Bio.Align import substitution_matrices
    from Bio.SeqUtils.ProtParamData import kd

    from seqtrain.evaluation.metrics import spearman

    blosum = substitution_matrices.load("BLOSUM62")
    values = {
        "BLOSUM62": np.array([float(blosum[each[0]][each[-1]]) for each in mutants]),
        "hydropathy (Kyte & Doolittle 1982), less the difference": np.array(
            [-abs(kd[each[-1]] - kd[each[0]]) for each in mutants]
        ),
        "random": np.random.default_rng(0).normal(size=len(mutants)),
    }
    return {name: round(spearman(measured, value), 4) for name, value in values.items()}


def pretrained(folder: Path, output: Path, size: str, residues: int, seed: int) -> dict[str, float]:
    """Pretrain into a folder; the held-out loss in nats and the CPU seconds."""
    from seqtrain.config import PretrainConfig
    from seqtrain.fitting import Silent
    from seqtrain.recipes.pretrain import pretrain

    started = time.process_time()
    config = PretrainConfig(
        inputs=(str(folder / "unlabeled_train.fasta.gz"),), valid=str(folder / "unlabeled_valid.fasta.gz"),
        output=str(output), size=size, residues=residues, seed=seed, num_evaluations=1, device="cpu",
    )  # fmt: skip
    loss = pretrain(config, Silent())["valid"]["loss"]
    return {"valid_loss": round(float(loss), 4), "training_seconds": round(time.process_time() - started, 1)}


def scored(run: Path, wild_type: str, mutants: list[str], measured: Array, num_slow: int) -> dict[str, Any]:
    """Correlation and CPU seconds of every method, on all variants and on those that the slow one is made for."""
    from seqtrain.evaluation.metrics import spearman
    from seqtrain.score.methods import Method, Scorer
    from seqtrain.words import names_of

    model, variants = loaded(run, wild_type, mutants)
    some = np.sort(np.random.default_rng(1).permutation(len(mutants))[:num_slow])
    found: dict[str, Any] = {}
    for name, kind in names_of(Method).items():
        slow = name == "pseudo-log-likelihood"
        chosen = some if slow else np.arange(len(mutants))
        started = time.process_time()
        values = np.array(list(Scorer(model, kind())(variants[i] for i in chosen)))
        seconds = time.process_time() - started
        among = values if slow else values[some]
        found[name] = {
            "spearman": None if slow else round(spearman(measured, values), 4),
            f"spearman_of_{len(some)}": round(spearman(measured[some], among), 4),
            "variants": len(chosen),
            "seconds": round(seconds, 3),
        }
    return found


def loaded(run: Path, wild_type: str, mutants: list[str]) -> tuple[Any, list[Any]]:
    """A language model on the CPU, and the variants in its letters."""
    import torch

    from seqtrain.inference import InferenceConfig
    from seqtrain.score.language_model import LanguageModel, load_language_model
    from seqtrain.score.mutations import Notation

    found = load_language_model(run)
    config = InferenceConfig(device=torch.device("cpu"))
    model = LanguageModel(network=found.single, alphabet=found.alphabet, max_length=found.max_length, config=config)
    notation = Notation(alphabet=found.alphabet)
    variants = [notation.placed(notation.parse(each), "TEM-1", wild_type.encode(), 0) for each in mutants]
    return model, variants


def timed(run: Path, wild_type: str, mutants: list[str], rounds: int) -> dict[str, Any]:
    """CPU seconds of each method and of a loop over transformers, in turns, and how far their scores differ."""
    from seqtrain.score.methods import Method, Scorer
    from seqtrain.words import names_of

    model, variants = loaded(run, wild_type, mutants)
    peer = Peer(run if (run / "config.json").exists() else run / "model")
    found = {}
    for name, kind in names_of(Method).items():
        chosen = range(_PEER_VARIANTS) if name == "pseudo-log-likelihood" else range(len(mutants))
        ours, theirs = [], []
        for _ in range(rounds):
            started = time.process_time()
            values = list(Scorer(model, kind())(variants[i] for i in chosen))
            ours.append(time.process_time() - started)
            started = time.process_time()
            others = peer.scores(name, wild_type, [mutants[i] for i in chosen])
            theirs.append(time.process_time() - started)
        found[name] = {
            "variants": len(chosen),
            "seconds": round(statistics.median(ours), 3),
            "seconds_of_transformers": round(statistics.median(theirs), 3),
            "times_faster": round(statistics.median(theirs) / statistics.median(ours), 2),
            "largest_difference": float(f"{np.abs(np.array(values) - np.array(others)).max():.2g}"),
        }
    return found


class Peer:
    """EsmForMaskedLM, one sequence at a time: a pass per position for marginals, and per residue of every variant."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import EsmForMaskedLM

        from seqtrain.alphabet import PROTEIN

        self.network = EsmForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.id_of = {letter: PROTEIN.vocabulary.id(letter) for letter in PROTEIN.standard}
        self.mask = PROTEIN.vocabulary.id("<mask>")

    def rows(self, text: str, masked: int | None) -> Any:
        """(L, 20 of V) ln p of the residues at every position of a text."""
        import torch

        ids = [0, *(self.id_of[letter] for letter in text), 2]
        if masked is not None:
            ids[masked + 1] = self.mask
        with torch.inference_mode():
            logits = self.network(input_ids=torch.tensor([ids])).logits[0, 1:-1].double()
        return logits - logits[:, list(self.id_of.values())].logsumexp(1, keepdim=True)

    def likelihood(self, text: str) -> float:
        """The pseudo-log-likelihood of a text."""
        return sum(float(self.rows(text, i)[i, self.id_of[letter]]) for i, letter in enumerate(text))

    def scores(self, method: str, wild_type: str, mutants: list[str]) -> list[float]:
        """The score of each single variant."""
        if method == "pseudo-log-likelihood":
            base = self.likelihood(wild_type)
            texts = [wild_type[: int(m[1:-1]) - 1] + m[-1] + wild_type[int(m[1:-1]) :] for m in mutants]
            return [self.likelihood(text) - base for text in texts]
        whole = self.rows(wild_type, None) if method == "wild-type-marginal" else None
        kept: dict[int, Any] = {}
        found = []
        for mutant in mutants:
            place = int(mutant[1:-1]) - 1
            if whole is None and place not in kept:
                kept[place] = self.rows(wild_type, place)[place]
            row = kept[place] if whole is None else whole[place]
            found.append(float(row[self.id_of[mutant[-1]]] - row[self.id_of[mutant[0]]]))
        return found


def summary(cells: dict[str, Any]) -> dict[str, Any]:
    """Of each model its mean and standard deviation over seeds, by method and figure."""
    table: dict[str, Any] = {}
    for key in sorted({key.rpartition("|")[0] for key in cells if key.startswith(("pretrained|", "model|"))}):
        found = [cell for name, cell in cells.items() if name.rpartition("|")[0] == key]
        table[key] = {"seeds": len(found)}
        for method in METHODS:
            for figure in found[0][method]:
                values = [cell[method][figure] for cell in found if cell[method].get(figure) is not None]
                if figure.startswith("spearman") and values:
                    sd = round(statistics.stdev(values), 4) if len(values) > 1 else None
                    table[key][f"{method}, {figure}"] = {"mean": round(statistics.mean(values), 4), "sd": sd}
    return table


def main() -> None:
    """Compute what is missing, one seed after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="score with this run or folder instead of pretraining")
    parser.add_argument("--size", default="1M")
    parser.add_argument("--residues", type=lambda text: int(float(text)), default=3_000_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--slow-variants", type=int, default=100, help="scored by pseudo-log-likelihood, too")
    parser.add_argument("--variants", type=int, help="only the first so many, to try it")
    parser.add_argument("--rounds", type=int, default=3, help="of the comparison of times")
    parser.add_argument("--minutes", type=float, default=60, help="begin nothing after so long")
    parser.add_argument("--name", default="scoring", help="of the result file")
    options = parser.parse_args()
    path = RESULTS / f"{options.name}.json"
    cells: dict[str, Any] = json.loads(path.read_text())["cells"] if path.exists() else {}
    deadline = time.monotonic() + 60 * options.minutes
    wild_type, mutants, measured = read_variants(options.data)
    mutants, measured = list(islice(mutants, options.variants)), measured[: options.variants]

    def fill(key: str, compute: Callable[[], dict[str, Any]]) -> None:
        if key in cells or time.monotonic() > deadline:
            return
        cells[key] = compute()
        print(key, cells[key], flush=True)
        write_report(
            options.name,
            "zero-shot scores of TEM-1 variants: Spearman's correlation with the assay, and time beside transformers",
            packages=("torch", "transformers"),
            variants=len(mutants),
            floors=floors(mutants, measured),
            published=PUBLISHED,
            table=summary(cells),
            cells=cells,
        )

    if options.model is not None:
        arguments = (options.model, wild_type, mutants, measured, options.slow_variants)
        fill(f"model|{options.model.name}|0", lambda: scored(*arguments))
        fill(f"times|{options.model.name}", lambda: timed(options.model, wild_type, mutants, options.rounds))
    else:
        kind = f"{options.size}|{options.residues}"
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as scratch:
                run = Path(scratch) / "run"

                def compute(run: Path = run, seed: int = seed) -> dict[str, Any]:
                    facts = pretrained(options.data, run, options.size, options.residues, seed)
                    return {**facts, **scored(run, wild_type, mutants, measured, options.slow_variants)}

                fill(f"pretrained|{kind}|{seed}", compute)
                if run.exists():
                    fill(f"times|{kind}", lambda run=run: timed(run, wild_type, mutants, options.rounds))
    print(json.dumps({"floors": floors(mutants, measured), "published": PUBLISHED, **summary(cells)}, indent=1))


if __name__ == "__main__":
    main()
