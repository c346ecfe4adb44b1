"""Does pretraining help, and what does the help cost? With and without it, on four tasks of real labels.

A small transformer is pretrained as a masked language model on real unlabelled proteins for some CPU-minutes, then
finetuned on SCOP class, remote homology, stability and secondary structure, beside the same network from scratch. The
published gains of ProteinBERT (Brandes et al. 2022, on 106 million proteins, whole training sets, whole test sets; read
in the notebooks of its repository) stand beside: another scale, and no bar for minutes on a processor. Remote homology
is asked here among the folds of the test set only. What was trained is kept in the result file: a run that is started
again goes on with the missing cells.

    python benchmarks/benchmark_pretraining.py --data FOLDER [--seeds 3] [--processes 2] [--minutes 60] [--full]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from grid import compared, fill
from timing import RESULTS, write_report
from transfer import SCRATCH, TASKS, Plan, prepared, seconds_per_step, write_part

PRETRAINED = "pretrained"
PUBLISHED = {
    "SCOP class": (0.593, 0.884),
    "remote homology": (0.063, 0.219),
    "stability": (0.634, 0.762),
    "SS3": (0.704, 0.740),
}
"""Of ProteinBERT: without and with its pretraining."""


def summary(cells: dict[str, Any], seeds: int) -> dict[str, Any]:
    """Both scores, their paired difference, what it is per CPU-hour of pretraining, and the published pair."""
    table: dict[str, Any] = {}
    hours = [cell["pretraining_cpu_seconds"] / 3600 for key, cell in cells.items() if key.startswith(f"{PRETRAINED}|")]
    for task, published in PUBLISHED.items():
        scores = {
            way: [cells.get(f"{way}|{seed}", {}).get(task) for seed in range(seeds)] for way in (SCRATCH, PRETRAINED)
        }
        row: dict[str, Any] = {
            way: compared(found, scores[SCRATCH], TASKS[task].metric) for way, found in scores.items()
        }
        gain = row[PRETRAINED]["difference"] if isinstance(row[PRETRAINED], dict) else None
        row["gain_per_cpu_hour"] = "missing" if gain is None or not hours else round(gain / mean(hours), 4)
        row["published_of_proteinbert"] = {"without": published[0], "with": published[1]}
        table[task] = row
    return table


def main() -> None:
    """Time the pretraining, then train what is missing, in turns over seeds; the table is written after every cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", default="300K")
    parser.add_argument("--objective", default="masked-lm")
    parser.add_argument("--cpu-seconds", type=float, default=480, help="of each pretraining")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=60, help="begin no cell after so long")
    parser.add_argument("--full", action="store_true", help="5 seeds, 1M parameters, 3 hours, 8 times the labels")
    options = parser.parse_args()
    seeds, size, budget = (5, "1M", 10_800.0) if options.full else (options.seeds, options.size, options.cpu_seconds)
    name = "pretraining_full" if options.full else "pretraining"
    path = RESULTS / f"{name}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    facts = {"network": f"transformer {size}", "objective": options.objective, "pretraining_cpu_seconds": budget}
    same = all(kept.get(fact) == value for fact, value in facts.items())
    cells: dict[str, Any] = kept["cells"] if same else {}
    compute: dict[str, Any] = kept["compute"] if same else {}
    with tempfile.TemporaryDirectory() as scratch:
        corpus, held_out = Path(scratch) / "train.fasta", Path(scratch) / "valid.fasta"
        write_part(options.data / "unlabeled_train.fasta.gz", corpus, 80_000 if options.full else 20_000)
        write_part(options.data / "unlabeled_valid.fasta.gz", held_out, 200)
        tasks = {task: TASKS[task] for task in PUBLISHED}
        plan = Plan(str(options.data), str(corpus), str(held_out), size, tasks)
        plan = plan.scaled(8) if options.full else plan

        def write() -> None:
            write_report(
                name,
                "finetuning with and without pretraining: scores on test records",
                packages=("torch",),
                **facts,
                seeds=seeds,
                compute=compute,
                table=summary(cells, seeds),
                cells=cells,
            )

        if not compute:
            measured = seconds_per_step(plan, options.objective)
            steps = max(1, round(budget / measured["cpu_seconds_per_step"]))
            compute |= {**measured, "steps": steps, "residues_computed": steps * measured["residues_per_step"]}
            print(compute, flush=True)
        missing = (
            (f"{way}|{seed}", partial(prepared, plan, options.objective, seed, steps))
            for seed in range(seeds)
            for way, steps in ((SCRATCH, 0), (PRETRAINED, compute["steps"]))
            if f"{way}|{seed}" not in cells
        )
        fill(cells, missing, write, processes=options.processes, minutes=options.minutes)
        write()
    for task, row in summary(cells, seeds).items():
        print(f"{task}, {TASKS[task].metric}")
        for way, found in row.items():
            print(f"  {way:<26}", found)


if __name__ == "__main__":
    main()
