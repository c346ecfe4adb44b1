"""Residues per second of masked language model training, here and by the Trainer of transformers, in turns.

Run from the root of the repository, on cores that nothing else uses::

    python benchmarks/benchmark_training_step.py --longest 512
    python benchmarks/benchmark_training_step.py --longest 1022 --precision bf16 --data proteins.fasta.gz
    python benchmarks/benchmark_training_step.py --longest 1022 --defaults

Both sides train a model of one shape on the same sequences of natural lengths, 16 to an update, in one process, one
update here after each update there. The peer is transformers' ``Trainer`` with ``EsmForMaskedLM`` and
``DataCollatorForLanguageModeling``: its time is that of its own loop from the end of one update to the end of the next,
which a callback takes. Ours is that of ``train_steps`` for the next update, reading and batching included. With
``--defaults`` each side has the batches that it makes when nobody asks for others: 2,048 tokens here, 8 sequences
there.

Believe the seconds of the wall only of idle cores; the ratio of processor seconds stands beside them. "share of the
matrix rate" is what our updates compute per second, against products of matrices of their shape measured in between.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from peer_trainer import InOrder, lengths_of, masked_lm_trainer, on_every_step
from timing import natural_proteins, write_report

from seqtrain.alphabet import PROTEIN
from seqtrain.batching import Examples, MicrobatchBudget, Microbatches, Step, steps_from
from seqtrain.encode import Tokens
from seqtrain.io.fasta import read_fasta
from seqtrain.io.records import Record
from seqtrain.io.store import SequenceStore
from seqtrain.models.compiling import compile_layers
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import build
from seqtrain.models.transformer import TransformerConfig
from seqtrain.objectives import MaskedLM
from seqtrain.optimizers import AdamW
from seqtrain.schedules import Constant
from seqtrain.spans import Spans
from seqtrain.training import LoopConfig, StepReport, train_steps

GOALS = {(512, "fp32"): 2.0, (512, "bf16"): 2.8, (1022, "fp32"): 4.5, (1022, "bf16"): 3.5}
DEFAULTS_GOAL = 5.0
WARM_UP = 2
"""Updates of each side that are not counted."""
MICROBATCH = 2048
"""Tokens; what ``seqtrain pretrain`` takes on a CPU."""


@dataclass
class Measured:
    """What the counted updates of both sides took, update by update."""

    residues: dict[str, list[int]] = field(default_factory=lambda: {"ours": [], "peer": []})
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"ours": [], "peer": []})
    processor_seconds: dict[str, list[float]] = field(default_factory=lambda: {"ours": [], "peer": []})
    flops: list[float] = field(default_factory=list)
    """Of our updates."""
    matrix_rate: list[float] = field(default_factory=list)
    """FLOP per second, after each update."""

    def add(self, side: str, residues: int, wall: float, processor: float) -> None:
        self.residues[side].append(residues)
        self.seconds[side].append(wall)
        self.processor_seconds[side].append(processor)

    def rate(self, side: str, seconds: dict[str, list[float]]) -> float:
        """Median residues per second."""
        return median(n / s for n, s in zip(self.residues[side], seconds[side], strict=True))


def texts_of(path: Path | None, longest: int, count: int, seed: int) -> list[str]:
    """``count`` proteins of at most ``longest`` residues, from a FASTA file or drawn; the order is the seed's."""
    texts = natural_proteins(2 * count) if path is None else [record.sequence.decode() for record in read_fasta(path)]
    texts = [text.upper() for text in texts if len(text) <= longest]
    order = np.random.default_rng(seed).permutation(len(texts))[:count]
    return [texts[index] for index in order]


def examples_of(texts: list[str]) -> Examples:
    """The texts as training examples, each whole."""
    records = [Record(f"r{i}", PROTEIN.pack(text.encode()), "", "") for i, text in enumerate(texts)]
    store = SequenceStore.in_memory(records, PROTEIN)
    return Examples(store=store, spans=Spans.whole(np.arange(len(store)), store.lengths), encoder=Tokens(PROTEIN))


def in_file_order(examples: Examples, batch_size: int) -> Iterator[Step]:
    """Updates of ``batch_size`` examples, one after the other."""
    for start in range(0, len(examples), batch_size):
        units = np.arange(start, min(start + batch_size, len(examples)))
        yield Step(units, np.zeros(len(units), np.int64), start + len(units))


def our_reports(examples: Examples, steps: Iterator[Step], options: argparse.Namespace) -> Iterator[StepReport]:
    """The loop of seqtrain over these updates."""
    torch.manual_seed(options.seed)
    network = build(TransformerConfig.of_size(options.size), LanguageModelHeadConfig())
    if options.compile:
        compile_layers(network)
    optimizer = AdamW(learning_rate=1e-4).build(network)
    budget = MicrobatchBudget(MICROBATCH)
    batches = (Microbatches(step, examples, budget) for step in steps)
    loop = LoopConfig(device=torch.device("cpu"), precision=options.precision)
    return train_steps(network, MaskedLM(PROTEIN), batches, optimizer, Constant(num_steps=10**6), loop)


def flops_of(config: TransformerConfig, lengths: list[int], masked: float) -> float:
    """Multiplications and additions of one update, forward and backward (three times the forward ones).

    Per position and layer 24 D^2 in linear layers and 4 L D in attention; in the last layer queries, output and
    feed-forward part, and the language model head, at masked positions only.
    """
    width, positions, squares = config.width, sum(lengths), sum(length**2 for length in lengths)
    linear = 24 * width**2 * positions * (config.depth - 1) + (4 * positions + 20 * masked) * width**2
    attention = 4 * width * (squares * (config.depth - 1) + masked * squares / positions)
    head = masked * (2 * width**2 + 2 * width * config.vocabulary_size)
    return 3.0 * (linear + attention + head)


def matrix_rate(width: int, precision: str) -> float:
    """FLOP per second of the forward product of the feed-forward part, for one microbatch."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    rows, weight = torch.randn(MICROBATCH, width).to(dtype), torch.randn(4 * width, width).to(dtype)
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        torch.nn.functional.linear(rows, weight)
        taken.append(time.perf_counter() - start)
    return float(8 * MICROBATCH * width**2 / min(taken))


def measure(texts: list[str], options: argparse.Namespace) -> Measured:
    """Let the Trainer train, and ours take one update after each of its."""
    examples, measured = examples_of(texts), Measured()
    config = TransformerConfig.of_size(options.size)
    peer_batch = 8 if options.defaults else options.batch_size
    steps = steps_from(examples, MICROBATCH, 0, 0) if options.defaults else in_file_order(examples, peer_batch)
    reports = our_reports(examples, steps, options)
    peer_lengths = [lengths_of(texts[start : start + peer_batch]) for start in range(0, len(texts), peer_batch)]
    clock = [time.perf_counter(), time.process_time()]

    def one_each(number: int) -> None:
        wall, processor = time.perf_counter() - clock[0], time.process_time() - clock[1]
        start, start_processor = time.perf_counter(), time.process_time()
        report = next(reports)
        ours, ours_processor = time.perf_counter() - start, time.process_time() - start_processor
        if number >= WARM_UP:
            measured.add("peer", sum(peer_lengths[number]), wall, processor)
            measured.add("ours", report.num_residues, ours, ours_processor)
            lengths = [length + 2 for length in peer_lengths[number]]
            if not options.defaults:
                measured.flops.append(flops_of(config, lengths, report.count))
            measured.matrix_rate.append(matrix_rate(config.width, options.precision))
        clock[:] = time.perf_counter(), time.process_time()

    with tempfile.TemporaryDirectory() as folder:
        bf16 = options.precision == "bf16"
        trainer = masked_lm_trainer(
            InOrder, config, texts, Path(folder), per_device_train_batch_size=peer_batch, bf16=bf16
        )
        trainer.add_callback(on_every_step(one_each))
        clock[:] = time.perf_counter(), time.process_time()
        trainer.train()
    return measured


def result_of(measured: Measured, texts: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """The figures of a measurement."""
    batch = 8 if options.defaults else options.batch_size
    batches = [lengths_of(texts[start : start + batch]) for start in range(0, len(texts), batch)]
    goal = DEFAULTS_GOAL if options.defaults else GOALS.get((options.longest, options.precision))
    result: dict[str, Any] = {"updates_counted": len(measured.seconds["ours"])}
    for name, seconds in (("seconds", measured.seconds), ("processor_seconds", measured.processor_seconds)):
        rates = {side: measured.rate(side, seconds) for side in ("ours", "peer")}
        result[f"residues_per_{name[:-1]}"] = {side: round(rate, 1) for side, rate in rates.items()}
        result["ratio" if name == "seconds" else "ratio_of_processor_time"] = round(rates["ours"] / rates["peer"], 3)
    if not options.defaults:
        ratios = [p / o for p, o in zip(measured.seconds["peer"], measured.seconds["ours"], strict=True)]
        result["ratio_quartiles"] = [round(float(value), 3) for value in np.quantile(ratios, [0.25, 0.75])]
        shares = [
            flops / seconds / rate
            for flops, seconds, rate in zip(measured.flops, measured.seconds["ours"], measured.matrix_rate, strict=True)
        ]
        result["share_of_matrix_rate"] = round(median(shares), 3)
    result["matrix_gigaflops"] = round(median(measured.matrix_rate) / 1e9, 1)
    result["padding_ratio_of_peer"] = round(mean(max(row) * len(row) / sum(row) for row in batches), 3)
    return {**result, "goal": goal, "reached": None if goal is None else result["ratio"] >= goal}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="FASTA file of proteins; without it they are drawn")
    parser.add_argument("--size", default="8M", help="a size of the transformer")
    parser.add_argument("--longest", type=int, default=512, help="most residues of a sequence")
    parser.add_argument("--batch-size", type=int, default=16, help="sequences per update")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--defaults", action="store_true", help="the batches that each side makes by itself")
    parser.add_argument("--compile", action="store_true", help="compile our layers, as seqtrain --compile does")
    parser.add_argument("--updates", type=int, default=20, help="counted updates of each side")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    batch = 8 if options.defaults else options.batch_size
    texts = texts_of(options.data, options.longest, batch * (options.updates + WARM_UP), options.seed)
    result = result_of(measure(texts, options), texts, options)
    for name, value in result.items():
        print(f"{name:<32}{value}")
    mode = "defaults" if options.defaults else options.precision
    write_report(
        f"training_step_{options.longest}_{mode}{'_compiled' if options.compile else ''}",
        "masked language model training, ESM-2 shape",
        packages=("seqtrain", "torch", "transformers", "accelerate"),
        peer="transformers Trainer, EsmForMaskedLM, DataCollatorForLanguageModeling",
        threads=options.threads,
        sequences="drawn" if options.data is None else options.data.name,
        size=options.size,
        **result,
    )


if __name__ == "__main__":
    main()
