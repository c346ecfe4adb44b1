"""Seconds of training until a held-out masked language model loss is reached, here and by transformers' Trainer.

Run from the root of the repository; every run can be interrupted and goes on when the command is given again::

    python benchmarks/benchmark_time_to_loss.py --data train.fasta.gz --valid valid.fasta.gz --work FOLDER
    python docs/draw_time_to_loss.py

Both sides train a transformer of ESM-2's shape and of the same number of parameters on the same proteins, from weights
of the same distribution and an output bias of the letter frequencies. They are scored on the same residues of the
held-out proteins behind the same masks. The target is 0.05 nats below the entropy of the letter frequencies there.

Ours has the batches, rate and optimiser of ``seqtrain pretrain`` on a CPU. The peer is the Trainer with its own batches
and optimiser, at three learning rates of which the best one counts. Both rates climb over the first 200 updates and
then stay, so that no schedule depends on how long a run may take. Only training is timed, evaluations and saving are
not; processor seconds stand beside those of the wall. The run ends at the target or after ``--minutes``.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_trainer import masked_lm_trainer
from timing import write_report
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import Trainer, TrainerCallback

from seqtrain.alphabet import PROTEIN
from seqtrain.batch import Batch
from seqtrain.batching import Examples, MicrobatchBudget, Microbatches, steps_from
from seqtrain.checkpoint import Progress, latest_checkpoint, load_checkpoint, purge_checkpoints, save_checkpoint
from seqtrain.draws import Draws
from seqtrain.encode import Tokens
from seqtrain.inference import evaluation_batches
from seqtrain.io.fasta import read_fasta
from seqtrain.io.records import Record
from seqtrain.io.store import SequenceStore
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import build
from seqtrain.models.transformer import TransformerConfig
from seqtrain.objectives import MaskedLM
from seqtrain.optimizers import AdamW
from seqtrain.schedules import Constant
from seqtrain.spans import Spans
from seqtrain.training import LoopConfig, train_steps

LONGEST = 1022
"""Residues; what is longer is cut there on both sides."""
TOKENS = 2048
"""Per update of ours."""
OUR_RATE = 5e-4
WARM_UP = 200
MANY = 1_000_000
"""Updates: more than any run makes."""
BELOW_ENTROPY = 0.05
"""Nats."""


@dataclass
class Curve:
    """Losses of one run as they were measured; written to a file at each, from which a later start goes on."""

    path: Path
    target: float
    every: float
    """Seconds of training between two measurements."""
    limit: float
    """Seconds of training."""
    points: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    processor_seconds: float = 0.0
    _started: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.path.exists():
            self.points = json.loads(self.path.read_text())["points"]
            self.seconds, self.processor_seconds = (self.points[-1][n] for n in ("seconds", "processor_seconds"))

    @property
    def is_done(self) -> bool:
        return bool(self.points) and (self.reached is not None or self.seconds >= self.limit)

    @property
    def reached(self) -> dict[str, float] | None:
        """The first point at or below the target."""
        return next((point for point in self.points if point["loss"] <= self.target), None)

    def start(self) -> None:
        """The clock runs from here."""
        self._started = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """The clock stands from here."""
        assert self._started is not None, "start comes first"
        self.seconds += time.perf_counter() - self._started[0]
        self.processor_seconds += time.process_time() - self._started[1]
        self._started = None

    @property
    def is_due(self) -> bool:
        last = self.points[-1]["seconds"] if self.points else -math.inf
        return self.seconds - last >= self.every or self.seconds >= self.limit

    def add(self, step: int, loss: float) -> None:
        """Take in a measurement."""
        self.points.append(
            {
                "step": step,
                "seconds": round(self.seconds, 2),
                "processor_seconds": round(self.processor_seconds, 2),
                "loss": round(loss, 5),
            }
        )
        print(f"{self.path.stem:<12} step {step:>7,} {self.seconds:>8.0f} s  loss {loss:.4f}", flush=True)
        self.path.write_text(json.dumps({"points": self.points}, indent=1) + "\n")


def texts_of(path: Path, count: int | None = None) -> list[str]:
    """Sequences of a FASTA file, cut to the longest length."""
    texts = []
    for record in read_fasta(path):
        texts.append(record.sequence.decode().upper()[:LONGEST])
        if len(texts) == count:
            break
    return texts


def examples_of(texts: list[str], seed: int) -> Examples:
    """The texts as examples."""
    records = [Record(f"r{i}", PROTEIN.pack(text.encode()), "", "") for i, text in enumerate(texts)]
    store = SequenceStore.in_memory(records, PROTEIN)
    spans = Spans.whole(np.arange(len(store)), store.lengths)
    return Examples(store=store, spans=spans, encoder=Tokens(PROTEIN), seed=seed)


def masked_once(texts: list[str]) -> list[Batch]:
    """The held-out proteins, behind masks that are always the same."""
    objective = MaskedLM(PROTEIN)
    return [objective.prepare(b, Draws(b.keys)) for b in evaluation_batches(examples_of(texts, -1), 8192)]


def letter_bias(texts: list[str]) -> Tensor:
    """(V,) log frequencies of the standard letters, and of a letter that never occurs for the other tokens."""
    counts = np.bincount(np.concatenate([PROTEIN.vocabulary.lookup[PROTEIN.pack(t.encode())] for t in texts]))
    counts = np.pad(counts, (0, len(PROTEIN.tokens) - len(counts)))[PROTEIN.standard_ids] + 1
    bias = torch.full((len(PROTEIN.tokens),), -float(np.log(counts.sum())))
    bias[torch.from_numpy(PROTEIN.standard_ids)] = torch.from_numpy(np.log(counts / counts.sum())).float()
    return bias


def entropy_of(batches: list[Batch]) -> float:
    """Nats per letter of the letter frequencies among everything that is to be predicted."""
    targets = torch.cat([batch.targets for batch in batches if batch.targets is not None])
    shares = torch.bincount(targets).double() / len(targets)
    return float(-torch.special.xlogy(shares, shares).sum())


@torch.no_grad()
def loss_of(logits_of: Any, network: nn.Module, batches: list[Batch]) -> float:
    """Mean cross-entropy in evaluation mode, in fp32; the mode is given back."""
    was_training, total, count = network.training, 0.0, 0
    network.eval()
    for batch in batches:
        assert batch.targets is not None
        total += float(cross_entropy(logits_of(batch).float(), batch.targets, reduction="sum"))
        count += len(batch.targets)
    network.train(was_training)
    return total / count


def run_ours(curve: Curve, config: TransformerConfig, texts: list[str], held_out: list[Batch]) -> None:
    """Train by the loop of seqtrain until the target or the limit."""
    torch.manual_seed(0)
    network = build(config, LanguageModelHeadConfig())
    with torch.no_grad():
        network.head.bias.copy_(letter_bias(texts))
    optimizer, saved = AdamW(learning_rate=OUR_RATE).build(network), curve.path.with_suffix("")
    path, _ = latest_checkpoint(saved)
    progress = load_checkpoint(path, network, optimizer) if path else Progress(step=0, position=0)
    examples, budget, positions = examples_of(texts, 0), MicrobatchBudget(TOKENS), []

    def batches() -> Iterator[Microbatches]:
        for step in steps_from(examples, TOKENS, progress.position, 0, first_step=progress.step):
            positions.append(step.next_position)
            yield Microbatches(step, examples, budget)

    schedule = Constant(num_steps=MANY, warmup_fraction=WARM_UP / MANY)
    loop = LoopConfig(device=torch.device("cpu"))
    if not curve.points:
        curve.add(0, loss_of(network, network, held_out))
    curve.start()
    for report in train_steps(
        network, MaskedLM(PROTEIN), batches(), optimizer, schedule, loop, first_step=progress.step
    ):
        curve.stop()
        position = positions.pop(0)
        if curve.is_due:
            curve.add(report.step, loss_of(network, network, held_out))
            saved_as = Progress(step=report.step, position=position)
            save_checkpoint(saved, network, optimizer, saved_as)
            purge_checkpoints(saved, saved_as, keep=1)
            if curve.is_done:
                return
        curve.start()


class Watch(TrainerCallback):
    """Times, scores and ends the training of a Trainer."""

    def __init__(self, curve: Curve, held_out: list[Batch]) -> None:
        self.curve, self.held_out = curve, held_out

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if not self.curve.points:
            self.curve.add(0, peer_loss(model, self.held_out))
        if self.curve._started is None:
            self.curve.start()

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.curve.stop()
        if self.curve.is_due:
            self.curve.add(state.global_step, peer_loss(model, self.held_out))
            control.should_save = True
            control.should_training_stop = self.curve.is_done
        else:
            self.curve.start()


def peer_loss(model: nn.Module, held_out: list[Batch]) -> float:
    """The same residues behind the same masks, in padded rectangles of 32."""

    def logits_of(batch: Batch) -> Tensor:
        pieces = list(torch.split(batch.inputs, batch.lengths.tolist()))
        parts = []
        for start in range(0, len(pieces), 32):
            ids = pad_sequence(pieces[start : start + 32], batch_first=True, padding_value=1)
            real = ids != 1
            parts.append(model(input_ids=ids, attention_mask=real.long()).logits[real])
        return torch.cat(parts)[batch.decode]

    return loss_of(logits_of, model, held_out)


def run_peer(
    curve: Curve, rate: float, config: TransformerConfig, texts: list[str], held_out: list[Batch], batch_size: int
) -> None:
    """Train by a Trainer until the target or the limit."""
    folder = curve.path.with_suffix("")
    folder.mkdir(exist_ok=True)
    trainer = masked_lm_trainer(
        Trainer, config, texts, folder, per_device_train_batch_size=batch_size, max_steps=MANY, learning_rate=rate,
        lr_scheduler_type="constant_with_warmup", warmup_steps=WARM_UP, save_total_limit=1, save_strategy="steps",
        save_steps=MANY,
    )  # fmt: skip
    with torch.no_grad():
        trainer.model.lm_head.bias.copy_(letter_bias(texts))  # type: ignore[union-attr, operator, arg-type]
    trainer.add_callback(Watch(curve, held_out))
    trainer.train(resume_from_checkpoint=any(folder.glob("checkpoint-*")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="FASTA file of proteins to train on")
    parser.add_argument("--valid", type=Path, required=True, help="FASTA file of held-out proteins")
    parser.add_argument("--work", type=Path, required=True, help="folder of unfinished runs")
    parser.add_argument("--size", default="1M", help="a size of the transformer")
    parser.add_argument("--held-out", type=int, default=300, help="proteins that are scored")
    parser.add_argument("--minutes", type=float, default=120, help="of training, for each run at most")
    parser.add_argument("--every", type=float, default=20, help="seconds of training between two scorings")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4, 4e-4, 1e-3], help="of the peer")
    parser.add_argument("--peer-batch", type=int, default=8, help="sequences; 8 is the Trainer's own")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--anew", action="store_true", help="forget unfinished and finished runs")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.anew:
        shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True, exist_ok=True)
    texts, held_out = texts_of(options.data), masked_once(texts_of(options.valid, options.held_out))
    config, entropy = TransformerConfig.of_size(options.size), entropy_of(held_out)
    curves = {
        name: Curve(options.work / f"{name}.json", entropy - BELOW_ENTROPY, options.every, options.minutes * 60)
        for name in ("ours", *(f"peer-{rate:g}" for rate in options.rates))
    }
    if not curves["ours"].is_done:
        run_ours(curves["ours"], config, texts, held_out)
    for rate in options.rates:
        curve = curves[f"peer-{rate:g}"]
        if not curve.is_done:
            run_peer(curve, rate, config, texts, held_out, options.peer_batch)
    report(curves, entropy, options)


def report(curves: dict[str, Curve], entropy: float, options: argparse.Namespace) -> None:
    """Print and write who was there when."""
    times = {
        unit: {name: curve.reached[unit] if curve.reached else None for name, curve in curves.items()}
        for unit in ("seconds", "processor_seconds")
    }
    ratios: dict[str, float | None] = {}
    for unit, by_run in times.items():
        peers = [by_run[name] if by_run[name] is not None else getattr(curves[name], unit) for name in curves]
        ours = by_run["ours"]
        ratios[unit] = None if ours is None else round(min(p for p in peers[1:] if p is not None) / ours, 2)
    peer_got_there = any(curve.reached for name, curve in curves.items() if name != "ours")
    for name in curves:
        print(f"{name:<14}{times['seconds'][name]!s:>12} s {times['processor_seconds'][name]!s:>12} s of processor")
    print(f"ratio {ratios}{'' if peer_got_there else ', at least: the peer did not get there'}")
    write_report(
        "time_to_loss",
        "training until a held-out loss",
        packages=("seqtrain", "torch", "transformers", "accelerate"),
        size=options.size,
        threads=options.threads,
        entropy=round(entropy, 4),
        target=round(entropy - BELOW_ENTROPY, 4),
        reached=times,
        ratio=ratios,
        peer_got_there=peer_got_there,
        goal=5.0,
        curves={name: curve.points for name, curve in curves.items()},
    )


if __name__ == "__main__":
    main()
