"""The main job on real proteins: pretrain once, then finetune each task with and without it.

    python benchmarks/benchmark_main_job.py --data FOLDER [--work FOLDER] [--tasks scop stability …] [--scratch]

FOLDER holds the files named below (they are not part of the project). Every command is run as a user would type it,
with its default settings, one after the other; scores are those of the run's own test sets, with 95 % bootstrap
intervals, the best simple model that the run fits itself, and the published floor. Rerunning continues. Results go to
``benchmarks/results/main_job.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "main_job.json"
TASKS = {
    "scop": ("proteinbert_scop_class.csv.gz", "scop_class", "accuracy", ".627, 1+2-mer logistic regression"),
    "stability": ("tape_stability.csv.gz", "stability", "spearman", ".493, one-hot ridge"),
    "ss3": ("secondary_structure_ss3.csv.gz", "ss3", "accuracy", ".69 (CB513), one-hot, TAPE"),
    "neuropeptide": ("proteinbert_neuropeptide.csv.gz", "label", "roc_auc", ".975, 1+2-mer logistic regression"),
}


def run(arguments: list[str], log: Path) -> float:
    """Run a command of seqtrain; seconds it took. Its stderr goes to the log."""
    started = time.monotonic()
    with log.open("w") as file:
        subprocess.run([sys.executable, "-m", "seqtrain_cli.main", *arguments], stderr=file, check=True)
    return round(time.monotonic() - started, 1)


def record(results: dict[str, Any], name: str, arguments: list[str], folder: Path) -> None:
    """Run a training unless it is recorded already, and keep its results."""
    if name in results:
        return
    seconds = run(arguments, folder.with_suffix(".log"))
    kept = json.loads((folder / "run.json").read_text())
    results[name] = {
        "command": "seqtrain " + " ".join(Path(part).name if "/" in part else part for part in arguments),
        "seconds": seconds,
        "threads": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())),
        "steps": kept["facts"]["steps"],
        **kept["results"],
    }
    # Read again: another process may have finished another task meanwhile.
    results.update({**(json.loads(RESULTS.read_text()) if RESULTS.exists() else {}), name: results[name]})
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def report(results: dict[str, Any]) -> None:
    """The table for the documentation."""
    if "pretrain" in results:
        found = results["pretrain"]
        print(
            f"pretrain: perplexity {found['valid']['perplexity']:.2f} (unigram {found['unigram_perplexity']:.2f}), "
            f"accuracy {found['valid']['accuracy']:.3f}, {found['seconds']:.0f} s"
        )
    print("| task | test set | metric | pretrained | from scratch | best simple model here | floor | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for task, (_, _, metric, floor) in TASKS.items():
        for index, scored in enumerate(results.get(task, {}).get("sets", [])):
            if scored["name"] == "valid":
                continue
            low, high = scored["intervals"].get(metric, ("", ""))
            value = f"{scored['metrics'][metric]:.3f} ({low:.3f}–{high:.3f})"
            scratch = results.get(f"{task}_scratch")
            other = f"{scratch['sets'][index]['metrics'][metric]:.3f}" if scratch else "missing"
            known = [(n, m[metric]) for n, m in scored["baselines"].items() if m[metric] is not None]
            name, best = max(known, key=lambda pair: pair[1])
            seconds = results[task]["seconds"]
            cells = (task, scored["name"], metric, value, other, f"{best:.3f} {name}", floor, f"{seconds:.0f}")
            print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/main_job"))
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--scratch", action="store_true", help="also train each task without pretraining")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "date": str(date.today()),
    }
    base, data = options.work / "base", options.data
    train, valid = data / "unlabeled_train.fasta.gz", data / "unlabeled_valid.fasta.gz"
    record(results, "pretrain", ["pretrain", str(train), "--valid", str(valid), "-o", str(base)], base)
    for task in options.tasks:
        file, target, _, _ = TASKS[task]
        # Two records of ss3 are marked as belonging to no set.
        dropping = ["--bad-records", "drop"] if task == "ss3" else []
        arguments = ["finetune", str(data / file), "--target", target, *dropping]
        folder = options.work / task
        record(results, task, [*arguments, "--from", str(base), "-o", str(folder)], folder)
        if options.scratch:
            folder = options.work / f"{task}_scratch"
            record(results, f"{task}_scratch", [*arguments, "-o", str(folder)], folder)
    report(results)


if __name__ == "__main__":
    main()
