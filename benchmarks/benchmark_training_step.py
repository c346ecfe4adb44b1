"""Seconds per masked language model training step, packed here and padded in transformers, in alternation.

Run from the root of the repository::

    python benchmarks/benchmark_training_step.py
    python benchmarks/benchmark_training_step.py --data proteins.fasta --longest 1022 --dtype bfloat16

Both sides train a model of one shape on the same sequences and the same masked positions with AdamW. The peer is
``EsmForMaskedLM`` as it comes: a padded rectangle, sdpa attention, logits at every position. Here the sequences are
packed, and the last layer and the head run at masked positions only. Believe the result only of an idle machine:
"load_before", the processes that were running before, must be near 0.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import transformers
from Bio.SeqIO.FastaIO import SimpleFastaParser
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import EsmConfig, EsmForMaskedLM

from seqtrain.alphabet import PROTEIN
from seqtrain.batch import Batch
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import build
from seqtrain.models.transformer import TransformerConfig

RESULTS = Path(__file__).parent / "results" / "training_step.json"
MEDIAN_LENGTH, SPREAD = 300, 0.6
"""Lengths without --data: log-normal, near those of Swiss-Prot (median about 300 residues)."""
MASKED_FRACTION = 0.15
CLS, PAD, EOS, MASK = (PROTEIN.vocabulary.id(token) for token in ("<cls>", "<pad>", "<eos>", "<mask>"))


@dataclass(frozen=True)
class Step:
    """The sequences of one step, packed."""

    inputs: Tensor
    """(T,) ids, masked."""
    boundaries: Tensor
    """(B + 1,)"""
    decode: Tensor
    """(M,) masked positions."""
    targets: Tensor
    """(M,) their ids before masking."""


def read_residues(path: Path | None, longest: int, count: int, generator: np.random.Generator) -> list[Tensor]:
    """Ids of ``count`` sequences of at most ``longest`` residues, from a FASTA file or drawn."""
    if path is None:
        lengths = np.exp(generator.normal(np.log(MEDIAN_LENGTH), SPREAD, count)).astype(int).clip(20, longest)
        return [torch.from_numpy(generator.choice(PROTEIN.standard_ids, length)) for length in lengths]
    with path.open() as lines:
        texts = [text.upper() for _, text in SimpleFastaParser(lines)]
    texts = [text for text in texts if 0 < len(text) <= longest]
    chosen = (texts[index] for index in generator.integers(0, len(texts), count))
    return [
        torch.from_numpy(PROTEIN.vocabulary.lookup[PROTEIN.pack(text.encode())].astype(np.int64)) for text in chosen
    ]


def make_step(sequences: list[Tensor], generator: np.random.Generator) -> Step:
    """Add special tokens and mask a fixed share of the residues of all sequences."""
    framed = [torch.cat((torch.tensor([CLS]), ids, torch.tensor([EOS]))) for ids in sequences]
    boundaries = torch.tensor([0, *(len(ids) for ids in framed)]).cumsum(0)
    inputs = torch.cat(framed)
    residues = ((inputs != CLS) & (inputs != EOS)).nonzero().squeeze(1)
    chosen = generator.permutation(len(residues))[: max(1, round(MASKED_FRACTION * len(residues)))]
    decode = residues[torch.from_numpy(np.sort(chosen))]
    targets = inputs[decode]
    inputs[decode] = MASK
    return Step(inputs, boundaries, decode, targets)


def packed_trainer(config: TransformerConfig, autocast: Callable[[], torch.autocast]) -> Callable[[Step], float]:
    """One training step of this library; returns the loss."""
    network = build(config, LanguageModelHeadConfig())
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def train(step: Step) -> float:
        num_sequences = len(step.boundaries) - 1
        batch = Batch(
            inputs=step.inputs,
            boundaries=step.boundaries,
            letters=torch.zeros(len(step.inputs), dtype=torch.uint8),
            records=torch.arange(num_sequences),
            keys=torch.zeros(num_sequences, dtype=torch.int64),
            decode=step.decode,
        )
        with autocast():
            loss = cross_entropy(network(batch).float(), step.targets)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return train


def padded_trainer(config: TransformerConfig, autocast: Callable[[], torch.autocast]) -> Callable[[Step], float]:
    """One training step of the peer; returns the loss."""
    peer = EsmForMaskedLM(
        EsmConfig(
            vocab_size=config.vocabulary_size,
            mask_token_id=MASK,
            pad_token_id=PAD,
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.num_heads,
            intermediate_size=config.inner_width,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            layer_norm_eps=config.layer_norm_eps,
            position_embedding_type="rotary",
            token_dropout=True,
        )
    ).train()
    optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-4)

    def train(step: Step) -> float:
        pieces = list(torch.split(step.inputs, step.boundaries.diff().tolist()))
        labels = torch.full_like(step.inputs, -100).scatter(0, step.decode, step.targets)
        goals = list(torch.split(labels, step.boundaries.diff().tolist()))
        ids = torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True, padding_value=PAD)
        rectangle = torch.nn.utils.rnn.pad_sequence(goals, batch_first=True, padding_value=-100)
        with autocast():
            loss = peer(input_ids=ids, attention_mask=(ids != PAD).long(), labels=rectangle).loss
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.item())

    return train


def alternate(trainers: dict[str, Callable[[Step], float]], steps: list[Step]) -> Iterator[tuple[str, float]]:
    """(side, seconds) of each step, the sides taking turns in going first; the first step of each is not counted."""
    names = list(trainers)
    for number, step in enumerate(steps):
        for name in names if number % 2 else reversed(names):
            start = time.perf_counter()
            trainers[name](step)
            if number:
                yield name, time.perf_counter() - start


def commit() -> str | None:
    """The commit that is checked out; None outside a repository."""
    answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    return answer.stdout.strip() if answer.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="FASTA file of proteins; without it lengths are drawn")
    parser.add_argument("--size", default="8M", help="a size of TransformerConfig.of_size")
    parser.add_argument("--longest", type=int, default=510, help="most residues of a sequence")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5, help="counted steps of each side")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="autocast to this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()

    load = os.getloadavg()[0]
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    generator = np.random.default_rng(options.seed)
    num_steps = options.repeats + 1
    sequences = read_residues(options.data, options.longest, num_steps * options.batch_size, generator)
    steps = [
        make_step(sequences[number * options.batch_size :][: options.batch_size], generator)
        for number in range(num_steps)
    ]
    config = TransformerConfig.of_size(options.size)

    def autocast() -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=options.dtype == "bfloat16")

    trainers = {"packed": packed_trainer(config, autocast), "padded": padded_trainer(config, autocast)}
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for name, taken in alternate(trainers, steps):
        seconds[name].append(taken)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    ratios = [padded / packed for padded, packed in zip(seconds["padded"], seconds["packed"], strict=True)]
    result = {
        "setting": {name: str(value) for name, value in vars(options).items() if name not in ("out", "data")},
        "sequences": "drawn" if options.data is None else options.data.name,
        "positions_per_step": statistics.mean(len(step.inputs) for step in steps),
        "seconds_per_step": {name: round(value, 4) for name, value in medians.items()},
        "speedup": round(statistics.median(ratios), 3),
        "speedup_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "peer": f"transformers {transformers.__version__} EsmForMaskedLM",
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "load_before": round(load, 2),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
