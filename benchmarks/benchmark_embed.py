"""Embedding natural proteins on a CPU, ESM-2 8M shape: here, and transformers padded and one by one, in alternation.

    python benchmarks/benchmark_embed.py
    python benchmarks/benchmark_embed.py --proteins 600 --precision bf16

All sides start from the same strings and end with the mean over the residues of each protein, from the same weights (an
ESM-2 folder written here and read by ``EsmModel``). Peers: padded batches of 16 in the order of the file, and one by
one, which on a CPU is the faster of the two. The proteins are cut into slices, each done by all sides, the order
turning, and the ratios are medians over slices, of seconds and of CPU seconds (a shared machine disturbs those less).
With ``--precision bf16`` all sides run under autocast, and the fp32 peers are timed too; see "gigaflops" for whether
this processor computes bf16 at all faster than fp32.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from timing import natural_proteins, write_report
from torch import Tensor

from seqtrain.alphabet import PROTEIN
from seqtrain.inference import InferenceConfig
from seqtrain.io.records import Record
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import Network, build
from seqtrain.models.pretrained import save_esm
from seqtrain.models.transformer import Transformer, TransformerConfig
from seqtrain.predict import Predictor

SLICE = 50
PADDED_BATCH = 16
CLS, PAD, EOS = (PROTEIN.vocabulary.id(token) for token in ("<cls>", "<pad>", "<eos>"))
Side = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Goal:
    """How many times faster than a peer."""

    side: str
    peer: str
    times: float


GOALS = {
    "fp32": (Goal("seqtrain fp32", "padded fp32", 3.5), Goal("seqtrain fp32", "one by one fp32", 1.15)),
    "bf16": (Goal("seqtrain bf16", "one by one bf16", 2.0), Goal("seqtrain bf16", "one by one fp32", 2.0)),
}


def ours(network: Network, precision: str) -> Side:
    """This library, as ``seqtrain embed`` calls it."""
    config = InferenceConfig(device=torch.device("cpu"), precision="bf16" if precision == "bf16" else "fp32")
    predictor = Predictor(network=network, alphabet=PROTEIN, task=None, max_length=10_000, config=config)

    def embed(proteins: Sequence[str]) -> NDArray[np.float32]:
        records = (Record(str(i), PROTEIN.pack(text.encode()), "", "") for i, text in enumerate(proteins))
        return np.concatenate([vectors for _, vectors in predictor.embed(records) if vectors is not None])

    return embed


def theirs(folder: Path, precision: str, batch_size: int) -> Side:
    """transformers, in batches of a size in the order given; the tokens by a table, as its tokenizer is slow."""
    from transformers import EsmModel

    peer = EsmModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32).eval()

    def autocast() -> AbstractContextManager[object]:
        return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()

    @torch.inference_mode()
    def embed(proteins: Sequence[str]) -> NDArray[np.float32]:
        means = []
        for start in range(0, len(proteins), batch_size):
            ids = [_ids(text) for text in proteins[start : start + batch_size]]
            padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=PAD)
            attended = (padded != PAD).long() if len(ids) > 1 else None
            with autocast():
                hidden = peer(input_ids=padded, attention_mask=attended).last_hidden_state.float()
            means += [row[1 : len(each) - 1].mean(0) for row, each in zip(hidden, ids, strict=True)]
        return torch.stack(means).numpy()

    return embed


def _ids(text: str) -> Tensor:
    residues = PROTEIN.vocabulary.lookup[np.frombuffer(text.encode(), np.uint8)].astype(np.int64)
    return torch.from_numpy(np.concatenate([[CLS], residues, [EOS]]))


def timed(sides: dict[str, Side], proteins: Sequence[str]) -> Iterator[tuple[dict[str, list[float]], float]]:
    """For each slice the wall and CPU seconds of every side, and how far their embeddings differ from the first's."""
    for sequences in sides.values():
        sequences(proteins[:4])
    names = list(sides)
    for number, start in enumerate(range(0, len(proteins), SLICE)):
        part = proteins[start : start + SLICE]
        taken, found = {}, {}
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            wall, cpu = time.perf_counter(), time.process_time()
            found[name] = sides[name](part)
            taken[name] = [time.perf_counter() - wall, time.process_time() - cpu]
        reference = found[names[-1]]
        yield taken, {name: float(np.abs(values - reference).max()) for name, values in found.items()}  # type: ignore[misc]


def gigaflops(dtype: torch.dtype) -> float:
    """Rate of the matrix product of one feed-forward layer."""
    rows, weight = torch.randn(2048, 320).to(dtype), torch.randn(1280, 320).to(dtype)
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        torch.nn.functional.linear(rows, weight)
        seconds.append(time.perf_counter() - start)
    return round(2e-9 * 2048 * 320 * 1280 / statistics.median(seconds), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proteins", type=int, default=2000)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--skip-padded", action="store_true", help="leave out the slow peer")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    proteins = natural_proteins(options.proteins)
    network = build(TransformerConfig.of_size("8M"), LanguageModelHeadConfig()).eval()
    assert isinstance(network.body, Transformer)
    precisions = ["fp32"] if options.precision == "fp32" else ["bf16", "fp32"]
    with tempfile.TemporaryDirectory() as name:
        save_esm(Path(name), network.body, None, PROTEIN.tokens)
        sides = {f"seqtrain {precision}": ours(network, precision) for precision in precisions}
        if not options.skip_padded:
            sides |= {f"padded {precision}": theirs(Path(name), precision, PADDED_BATCH) for precision in precisions}
        sides |= {f"one by one {precision}": theirs(Path(name), precision, 1) for precision in precisions}
        rates = {"fp32": gigaflops(torch.float32), "bf16": gigaflops(torch.bfloat16)}
        report(options.precision, sides, proteins, rates)


def report(precision: str, sides: dict[str, Side], proteins: Sequence[str], rates: dict[str, float]) -> None:
    """Run all sides, print a table, and write ``results/embed_PRECISION.json``."""
    slices, differences = zip(*timed(sides, proteins), strict=True)
    residues = sum(map(len, proteins))
    seconds = {name: [sum(taken[name][clock] for taken in slices) for clock in (0, 1)] for name in sides}
    for name, (wall, cpu) in seconds.items():
        print(f"{name:<20}{wall:9.1f} s {cpu:9.1f} CPU s {residues / wall:12,.0f} residues/s")
    ratios = []
    for goal in GOALS[precision]:
        if goal.peer not in sides:
            continue
        wall, cpu = (
            statistics.median(taken[goal.peer][clock] / taken[goal.side][clock] for taken in slices) for clock in (0, 1)
        )
        ratios.append({"side": goal.side, "peer": goal.peer, "times_faster": round(wall, 3),
                       "times_faster_in_cpu_seconds": round(cpu, 3), "goal": goal.times})  # fmt: skip
        print(f"{goal.side} is {wall:.2f}x as fast as {goal.peer} ({cpu:.2f}x in CPU seconds); goal {goal.times}")
    largest = {name: max(difference[name] for difference in differences) for name in sides}
    print("largest difference of an embedding:", {name: f"{value:.1e}" for name, value in largest.items()})
    write_report(
        f"embed_{precision}",
        "mean embeddings of natural proteins, ESM-2 8M shape, against transformers EsmModel",
        packages=("torch", "transformers", "numpy"),
        proteins=len(proteins),
        residues=residues,
        threads=torch.get_num_threads(),
        padding_of_peer=round(padding_ratio(proteins), 3),
        gigaflops=rates,
        seconds={name: {"wall": round(wall, 1), "cpu": round(cpu, 1)} for name, (wall, cpu) in seconds.items()},
        ratios=ratios,
        largest_difference=largest,
        compared_with=list(sides)[-1],
    )


def padding_ratio(proteins: Sequence[str]) -> float:
    """Positions of the peer's rectangles per residue and special token."""
    lengths = [len(text) + 2 for text in proteins]
    batches = [lengths[start : start + PADDED_BATCH] for start in range(0, len(lengths), PADDED_BATCH)]
    return sum(len(batch) * max(batch) for batch in batches) / sum(lengths)


if __name__ == "__main__":
    main()
