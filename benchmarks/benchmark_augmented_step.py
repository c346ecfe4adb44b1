"""What augmentation costs where it is used: as a share of a training step, and on a GPU against the same on the host.

A step is one update of a masked language model on natural-length proteins, with the defaults of ``seqtrain pretrain``
for the device (1M parameters and 2,048 tokens a step on a CPU, 8M and 65,536 in bf16 on CUDA). The chain is
substitution by BLOSUM62, deletions, insertions, cutout and a crop. The augmenters are timed on tensors, too, beside the
time that copying the same batch to the device takes.

    python benchmarks/benchmark_augmented_step.py [--device cuda] [--rounds 7]
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timing import natural_proteins, write_report

from seqtrain.alphabet import PROTEIN
from seqtrain.augment import (
    BackTranslation,
    Chain,
    Cutout,
    MatrixSubstitution,
    RandomCrop,
    RandomDeletion,
    RandomInsertion,
    SynonymousCodons,
    keyed,
    pack,
)
from seqtrain.augment.augmenter import Augmenter
from seqtrain.augment_device import augment_on_device
from seqtrain.batching import Examples, microbatches, steps_from
from seqtrain.encode import Tokens
from seqtrain.letters import PackedLetters
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import build
from seqtrain.models.transformer import TransformerConfig
from seqtrain.objectives import MaskedLM
from seqtrain.optimizers import AdamW
from seqtrain.schedules import WarmupCosine
from seqtrain.spans import Spans
from seqtrain.training import LoopConfig, train_steps

CHAIN = Chain(
    (
        MatrixSubstitution(rate=0.1),
        RandomDeletion(rate=0.05, mean_length=3),
        RandomInsertion(rate=0.05, mean_length=3),
        Cutout(length=20),
        RandomCrop(1022),
    )
)


@dataclass(frozen=True)
class InMemory:
    """Packed letters as a store."""

    packed: PackedLetters

    @property
    def letters(self) -> NDArray[np.uint8]:
        """(T,) all letters."""
        return self.packed.letters

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(N + 1,) where each sequence begins."""
        return self.packed.boundaries


def seconds_of(work: Callable[[], Any], rounds: int, device: torch.device) -> float:
    """Median seconds of a piece of work, the device's own included."""
    taken = []
    for turn in range(rounds + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if turn:
            taken.append(time.perf_counter() - start)
    return median(taken)


def share_of_step(texts: list[str], device: torch.device, rounds: int) -> dict[str, Any]:
    """Seconds of a training step and of augmenting the sequences of one."""
    on_gpu = device.type == "cuda"
    size, tokens_per_step = ("8M", 65_536) if on_gpu else ("1M", 2048)
    packed = pack(texts, PROTEIN)
    spans = Spans.whole(np.arange(len(texts)), packed.lengths)
    examples = Examples(store=InMemory(packed), spans=spans, encoder=Tokens(PROTEIN), augmenter=CHAIN)
    config = TransformerConfig.of_size(size)
    network = build(config, LanguageModelHeadConfig(vocabulary_size=len(PROTEIN.tokens))).to(device)
    optimizer = AdamW(learning_rate=5e-4).build(network)
    loop = LoopConfig(device=device, precision="bf16" if on_gpu else "fp32")
    steps = list(zip(range(rounds + 1), steps_from(examples, tokens_per_step, 0, 0), strict=False))
    batches = (microbatches(step, examples, tokens_per_step) for _, step in steps)
    schedule = WarmupCosine(num_steps=1000)
    reports = list(train_steps(network, MaskedLM(PROTEIN), batches, optimizer, schedule, loop))
    first = steps[0][1]
    packed = pack([texts[unit] for unit in first.units], PROTEIN)
    draws = keyed(len(packed), seed=0)
    step_seconds = median([report.seconds for report in reports[1:]])
    augment_seconds = seconds_of(lambda: CHAIN(packed, draws), rounds, device)
    return {
        "model": size,
        "tokens_per_step": tokens_per_step,
        "step_seconds": round(step_seconds, 5),
        "augment_seconds": round(augment_seconds, 6),
        "share": round(augment_seconds / step_seconds, 4),
        "goal": 0.03,
    }


def on_device(texts: list[str], device: torch.device, rounds: int) -> dict[str, Any]:
    """G residues per second of augmenters on the device, on the host, and of copying the batch."""
    packed = pack(texts, PROTEIN)
    keys = keyed(len(packed), seed=0)
    host = tuple(torch.tensor(array) for array in (packed.letters, packed.boundaries, keys.keys))
    there = tuple(tensor.to(device) for tensor in host)
    num = len(packed.letters)
    members: dict[str, Augmenter] = {
        "BLOSUM62 at rate 0.1": MatrixSubstitution(rate=0.1),
        "back-translation": BackTranslation(),
        "chain of back-translation and synonyms": Chain((BackTranslation(), SynonymousCodons(rate=0.5))),
        "chain of five": CHAIN,
    }
    copying = seconds_of(lambda: [tensor.to(device) for tensor in host], rounds, device)
    results: dict[str, Any] = {"residues": num, "copying_to_device": round(num / copying / 1e9, 3)}
    for name, member in members.items():
        # The same bits on both, before their times are compared.
        assert (
            augment_on_device(member, *there).packed.letters.cpu().numpy() == member(packed, keys).packed.letters
        ).all()
        results[name] = {
            "device": round(num / seconds_of(lambda m=member: augment_on_device(m, *there), rounds, device) / 1e9, 4),
            "host": round(num / seconds_of(lambda m=member: m(packed, keys), rounds, device) / 1e9, 4),
        }
    return {"giga_residues_per_second": results, "goal": 5}


def main() -> None:
    """Time both parts and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sequences", type=int, default=None, help="10,000; 200,000 on CUDA")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    device = torch.device(options.device)
    texts = natural_proteins(options.sequences or (200_000 if device.type == "cuda" else 10_000))
    share = share_of_step(texts, device, options.rounds)
    print(share)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    tensors = on_device(texts, device, options.rounds)
    print(tensors)
    write_report(
        f"augmented_step_{device.type}",
        "augmentation as a share of a training step, and on tensors",
        packages=("numpy", "torch"),
        device=name,
        share_of_a_training_step=share,
        on_tensors=tensors,
    )


if __name__ == "__main__":
    main()
