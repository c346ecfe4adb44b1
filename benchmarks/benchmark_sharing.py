"""Training steps per second when one process has the cores, and when two share them: busy and passive waiting.

    python benchmarks/benchmark_sharing.py

Each measurement is a fresh process, because OpenMP reads its policy once. Results go to
``benchmarks/results/sharing.json``.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results" / "sharing.json"
ROUNDS = 3
WORKER = """
import time, torch
from seqtrain.batch import Batch
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import build
from seqtrain.models.transformer import TransformerConfig
network = build(TransformerConfig.of_size("1M"), LanguageModelHeadConfig())
boundaries = torch.tensor([0, 400, 700, 1200, 1550, 2000])
inputs = torch.randint(4, 24, (2000,))
batch = Batch(inputs=inputs, boundaries=boundaries, letters=torch.full((2000,), 65, dtype=torch.uint8),
              records=torch.arange(5), keys=torch.arange(5), decode=torch.arange(0, 2000, 7))
for step in range(11):
    if step == 3:
        started = time.perf_counter()
    network(batch).sum().backward()
print(8 * 2000 / (time.perf_counter() - started))
"""


def tokens_per_second(policy: str, processes: int) -> float:
    """The mean rate of processes that run at the same time."""
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    command = [sys.executable, "-c", WORKER]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return statistics.mean(float(process.communicate()[0]) for process in running)


def main() -> None:
    """Measure in alternation; print and write the medians."""
    rates: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for processes in (1, 2):
            for policy in ("ACTIVE", "PASSIVE"):
                rates.setdefault(f"{processes} {policy}", []).append(tokens_per_second(policy, processes))
    medians = {name: round(statistics.median(values)) for name, values in rates.items()}
    for name, rate in medians.items():
        print(f"{name}: {rate:,} tokens/s per process")
    machine = {"cores": os.cpu_count(), "processor": platform.machine(), "torch": torch.__version__}
    record = {"command": "python benchmarks/benchmark_sharing.py", "date": str(date.today()), "machine": machine}
    RESULTS.write_text(json.dumps({**record, "tokens_per_second_per_process": medians}, indent=1) + "\n")


if __name__ == "__main__":
    main()
