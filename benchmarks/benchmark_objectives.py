"""Which self-supervised objective helps most at equal compute, and does any help at all?

For every objective the same small transformer is pretrained on real unlabelled proteins for the same CPU-seconds (how
many updates those are is measured first, once, and kept with the results; the residues that were computed stand beside
it), then finetuned on SCOP class, stability and secondary structure, beside the same network from scratch. Everything
else is the same for all. What was trained is kept in the result file: a run that is started again goes on with the
missing cells.

    python benchmarks/benchmark_objectives.py --data FOLDER [--seeds 3] [--processes 2] [--minutes 60] [--full]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from grid import Grid, compared, grid_parser
from transfer import SCRATCH, TASKS, Plan, prepared, steps_within, write_part

OBJECTIVES: dict[str, str] = {
    "masked-lm": "masked-lm",
    "span-masking": "span-masking",
    "masked-autoencoder": "masked-autoencoder",
    "pretext": "pretext",
    "sim-clr": "sim-clr",
    "nnclr": "nnclr",
    "sim-siam": "sim-siam",
}
CHOSEN = ("SCOP class", "stability", "SS3")


def summary(cells: dict[str, Any], seeds: int) -> dict[str, Any]:
    """The score and its paired difference from scratch, for every task and objective."""
    table: dict[str, Any] = {}
    for task in CHOSEN:
        scores = {
            way: [cells.get(f"{way}|{seed}", {}).get(task) for seed in range(seeds)] for way in (SCRATCH, *OBJECTIVES)
        }
        table[task] = {way: compared(found, scores[SCRATCH], TASKS[task].metric) for way, found in scores.items()}
    return table


def main() -> None:
    """Time what is known, then train what is missing, in turns over seeds; the table is written after every cell."""
    parser = grid_parser(__doc__, seeds=3)
    parser.add_argument("--size", default="300K")
    parser.add_argument("--cpu-seconds", type=float, default=60, help="of each pretraining")
    parser.add_argument("--full", action="store_true", help="5 seeds, 1M parameters, 1,800 s, 4 times the labels")
    options = parser.parse_args()
    seeds, size, budget = (5, "1M", 1800.0) if options.full else (options.seeds, options.size, options.cpu_seconds)
    grid = Grid(
        name="objectives_full" if options.full else "objectives",
        title="self-supervised objectives at equal CPU-seconds: scores after finetuning, beside from scratch",
        packages=("torch",),
        same={"network": f"transformer {size}", "pretraining_cpu_seconds": budget},
        facts={"seeds": seeds},
        table=partial(summary, seeds=seeds),
    )
    compute = grid.facts["compute"] = grid.kept["compute"] if grid.cells else {}
    with tempfile.TemporaryDirectory() as scratch:
        corpus, held_out = Path(scratch) / "train.fasta", Path(scratch) / "valid.fasta"
        write_part(options.data / "unlabeled_train.fasta.gz", corpus, 60_000 if options.full else 6000)
        write_part(options.data / "unlabeled_valid.fasta.gz", held_out, 100)
        tasks = {task: TASKS[task] for task in CHOSEN}
        plan = Plan(str(options.data), str(corpus), str(held_out), size, tasks)
        plan = plan.scaled(4) if options.full else plan
        for way, words in OBJECTIVES.items():
            if way not in compute:
                compute[way] = {"words": words, **steps_within(budget, plan, words)}
                print(way, compute[way], flush=True)
        steps_of = {SCRATCH: 0} | {way: compute[way]["steps"] for way in OBJECTIVES}
        wanted = (
            (f"{way}|{seed}", partial(prepared, plan, OBJECTIVES.get(way, ""), seed, steps))
            for seed in range(seeds)
            for way, steps in steps_of.items()
        )
        grid.fill(wanted, processes=options.processes, minutes=options.minutes)
    grid.show()


if __name__ == "__main__":
    main()
