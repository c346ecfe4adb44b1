"""A training step of the dilated CNN on packed sequences, against the same network on rectangles padded to the longest.

Both sides train one network (masked language model, 12 blocks, AdamW) on the same sequences of natural lengths with the
same masked positions, 16 sequences a step, in alternation; they start from the same weights, and their first losses are
compared. The peer is what torch offers: ``conv1d`` on (sequences, features, positions) with its padding set to 0 before
each convolution, and the head at masked positions only, as here. The third case is ours with the last block at
every position, which tells packing apart from decoding.

    python benchmarks/benchmark_cnn_step.py [--width 448] [--rounds 7] [--threads 2] [--precision bf16]
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np
import torch
from timing import Case, natural_proteins, print_table, time_in_turns, write_report
from torch import Tensor, nn
from torch.nn.functional import conv1d, cross_entropy
from torch.nn.utils.rnn import pad_sequence

from seqtrain.alphabet import PROTEIN
from seqtrain.batch import Batch
from seqtrain.models.cnn import CNN, CNNConfig
from seqtrain.models.network import Network, build, language_model_head

BATCH_SIZE, MASKED_FRACTION, GOAL = 16, 0.15, 1.5
CLS, PAD, EOS, MASK = (PROTEIN.vocabulary.id(token) for token in ("<cls>", "<pad>", "<eos>", "<mask>"))


@dataclass(frozen=True)
class Step:
    """The sequences of one step, packed, and padded."""

    batch: Batch
    targets: Tensor
    """(M,) ids before masking."""
    rectangle: Tensor
    """(B, L) ids, PAD behind each sequence."""
    places: Tensor
    """(M,) the masked positions in the flattened rectangle."""


class Padded(nn.Module):
    """The same weights on a rectangle, as torch computes convolutions."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = deepcopy(network)

    def forward(self, rectangle: Tensor, places: Tensor) -> Tensor:
        """Ids (B, L), masked places (M,) -> logits (M, V)"""
        body = self.network.body
        assert isinstance(body, CNN)
        real = (rectangle != PAD)[:, :, None]
        hidden = body.embedding(rectangle.flatten()).view(*rectangle.shape, -1)
        for block in body.blocks:
            inner = block.down(block.activation_down(_normed(block.norm_down, hidden)))
            inner = block.activation_convolve(_normed(block.norm_convolve, inner)) * real
            layer = block.convolve.convolution
            reach = layer.dilation[0] * (layer.kernel_size[0] // 2)
            inner = conv1d(
                inner.transpose(1, 2), layer.weight, layer.bias, padding=reach, dilation=layer.dilation
            ).transpose(1, 2)
            hidden = hidden + block.up(block.activation_up(_normed(block.norm_up, inner)))
        rows = _normed(body.final_norm, hidden.flatten(0, 1).index_select(0, places))
        logits: Tensor = self.network.head(rows, body.token_embedding)
        return logits


def _normed(norm: nn.Module, rows: Tensor) -> Tensor:
    """Layer norm needs neither sequences nor their number."""
    normed: Tensor = norm(rows, None, 0)
    return normed


def make_steps(count: int, longest: int) -> list[Step]:
    """Steps of proteins of natural lengths, cut at ``longest`` residues."""
    draws = np.random.default_rng(0)
    steps = []
    texts = natural_proteins(count * BATCH_SIZE)
    for first in range(0, len(texts), BATCH_SIZE):
        some = [text[:longest].encode() for text in texts[first : first + BATCH_SIZE]]
        pieces = [PROTEIN.vocabulary.lookup[PROTEIN.pack(text)].astype(np.int64) for text in some]
        ids = torch.from_numpy(np.concatenate([np.array([CLS, *piece, EOS]) for piece in pieces]))
        lengths = torch.tensor([len(piece) + 2 for piece in pieces])
        boundaries = torch.cat((torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)))
        residues = ((ids != CLS) & (ids != EOS)).nonzero().squeeze(1)
        chosen = draws.permutation(len(residues))[: round(MASKED_FRACTION * len(residues))]
        decode = residues[torch.from_numpy(np.sort(chosen))]
        targets = ids[decode]
        ids[decode] = MASK
        batch = Batch(
            inputs=ids,
            boundaries=boundaries,
            letters=torch.zeros(len(ids), dtype=torch.uint8),
            records=torch.arange(BATCH_SIZE),
            keys=torch.zeros(BATCH_SIZE, dtype=torch.int64),
            decode=decode,
        )
        rectangle = pad_sequence(list(torch.split(ids, lengths.tolist())), batch_first=True, padding_value=PAD)
        places = batch.segments[decode] * rectangle.shape[1] + batch.positions[decode]
        steps.append(Step(batch, targets, rectangle, places))
    return steps


def trainer(
    network: nn.Module, logits_of: Callable[[Step], Tensor], steps: list[Step], autocast: torch.autocast
) -> Iterator[float]:
    """Endless training steps; yields losses."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    for step in cycle(steps):
        with autocast:
            loss = cross_entropy(logits_of(step).float(), step.targets)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        yield loss.item()


def main() -> None:
    """Time the three sides and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=448, help="that of the size 8M")
    parser.add_argument("--longest", type=int, default=1022, help="most residues of a sequence")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = CNNConfig(width=options.width, depth=12)
    packed = build(config, language_model_head(config))
    everywhere, padded = deepcopy(packed), Padded(packed)
    steps = make_steps(options.rounds + 1, options.longest)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16")

    def all_positions(step: Step) -> Tensor:
        hidden = everywhere.body(step.batch.inputs, step.batch.boundaries)
        assert step.batch.decode is not None
        logits: Tensor = everywhere.head(hidden.index_select(0, step.batch.decode), everywhere.body.token_embedding)
        return logits

    sides = {
        "padded to the longest": trainer(padded, lambda step: padded(step.rectangle, step.places), steps, autocast),
        "packed": trainer(packed, lambda step: packed(step.batch), steps, autocast),
        "packed, last block at every position": trainer(everywhere, all_positions, steps, autocast),
    }
    with torch.no_grad():
        logits = [packed(steps[0].batch), padded(steps[0].rectangle, steps[0].places), all_positions(steps[0])]
    assert all(torch.allclose(each, logits[0], atol=1e-3) for each in logits), "the sides are not the same network"
    residues = int(np.mean([len(step.batch.inputs) - 2 * BATCH_SIZE for step in steps]))
    first, *others = (Case(name, lambda side=side: next(side), residues) for name, side in sides.items())
    results = time_in_turns([first, *(replace(case, peer=first.name, goal=GOAL) for case in others)], options.rounds)
    print_table(results)
    padding = float(np.mean([step.rectangle.numel() / len(step.batch.inputs) for step in steps]))
    print(f"positions of the rectangle per position in use: {padding:.2f}")
    write_report(
        f"cnn_step_{options.precision}",
        "a training step of the dilated CNN: packed against padded",
        packages=("torch", "numpy"),
        setting={**vars(options), "depth": 12, "batch_size": BATCH_SIZE, "residues_per_step": residues},
        padding_ratio=round(padding, 3),
        results=results,
    )


if __name__ == "__main__":
    main()
