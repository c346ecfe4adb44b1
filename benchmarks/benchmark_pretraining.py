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

import tempfile
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from grid import Grid, compared, grid_parser
from transfer import SCRATCH, TASKS, Plan, prepared, steps_within, write_part

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
    parser = grid_parser(__doc__, seeds=3)
    parser.add_argument("--size", default="300K")
    parser.add_argument("--objective", default="masked-lm")
    parser.add_argument("--cpu-seconds", type=float, default=480, help="of each pretraining")
    parser.add_argument("--full", action="store_true", help="5 seeds, 1M parameters, 3 hours, 8 times the labels")
    options = parser.parse_args()
    seeds, size, budget = (5, "1M", 10_800.0) if options.full else (options.seeds, options.size, options.cpu_seconds)
    grid = Grid(
        name="pretraining_full" if options.full else "pretraining",
        title="finetuning with and without pretraining: scores on test records",
        packages=("torch",),
        same={"network": f"transformer {size}", "objective": options.objective, "pretraining_cpu_seconds": budget},
        facts={"seeds": seeds},
        table=partial(summary, seeds=seeds),
    )
    compute = grid.facts["compute"] = grid.kept["compute"] if grid.cells else {}
    with tempfile.TemporaryDirectory() as scratch:
        corpus, held_out = Path(scratch) / "train.fasta", Path(scratch) / "valid.fasta"
        write_part(options.data / "unlabeled_train.fasta.gz", corpus, 80_000 if options.full else 20_000)
        write_part(options.data / "unlabeled_valid.fasta.gz", held_out, 200)
        tasks = {task: TASKS[task] for task in PUBLISHED}
        plan = Plan(str(options.data), str(corpus), str(held_out), size, tasks)
        plan = plan.scaled(8) if options.full else plan
        if not compute:
            compute |= steps_within(budget, plan, options.objective)
            print(compute, flush=True)
        wanted = (
            (f"{way}|{seed}", partial(prepared, plan, options.objective, seed, steps))
            for seed in range(seeds)
            for way, steps in ((SCRATCH, 0), (PRETRAINED, compute["steps"]))
        )
        grid.fill(wanted, processes=options.processes, minutes=options.minutes)
    grid.show()


if __name__ == "__main__":
    main()
