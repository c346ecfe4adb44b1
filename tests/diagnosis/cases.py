"""Small trainings, healthy ones and ones with a planted fault, and what their diagnosis says.

``benchmarks/benchmark_diagnosis.py`` runs the same cases with more seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.config import FinetuneConfig, PretrainConfig
from seqtrain.diagnosis import Remark
from seqtrain.draws import Draws
from seqtrain.errors import RunError
from seqtrain.fitting import Silent
from seqtrain.models.network import Network
from seqtrain.objectives import MaskedLM
from seqtrain.recipes.diagnosis import Subject, diagnosis_of, fit_diagnosed, subject_of
from seqtrain.recipes.finetune import held_out
from seqtrain.recipes.finetuning import FinetuningJob, prepare_finetuning
from seqtrain.recipes.held_out import outputs_of
from seqtrain.recipes.pretrain import pretrain
from seqtrain.recipes.pretraining import prepare, set_up

LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
TRANSFORMER = "transformer:width=32,depth=2,num_heads=2"
CNN = "cnn:width=32,depth=2,kernel_size=3"
RELU_CNN = "residual-cnn:width=16,depth=2,stages=1,activation=relu"


@dataclass(frozen=True, kw_only=True)
class Data:
    """N sequences whose composition follows a hidden number between 0 and 1."""

    sequences: list[str]
    hidden: NDArray[np.float64]

    @classmethod
    def drawn(cls, seed: int, count: int = 160, kinds: int = 3) -> Data:
        """Sequences of 12 to 28 letters, each rich in the letters of one of some kinds, and a little in others."""
        rng = np.random.default_rng(seed)
        hidden = rng.random(count)
        sequences = []
        for value in hidden:
            weights = np.ones(20)
            kind = min(kinds - 1, int(value * kinds))
            weights[4 * kind : 4 * kind + 4] = 6
            sequences.append("".join(rng.choice(LETTERS, size=rng.integers(12, 29), p=weights / weights.sum())))
        return cls(sequences=sequences, hidden=hidden)


Write = Callable[[Path, int], str]
Plant = Callable[[FinetuningJob], FinetuningJob]


def write_table(folder: Path, rows: list[tuple[str, ...]], header: str = "id,sequence,label") -> str:
    path = folder / "table.csv"
    path.write_text("\n".join([header, *(",".join(row) for row in rows), ""]))
    return str(path)


def classes(folder: Path, seed: int) -> str:
    """Three classes."""
    data = Data.drawn(seed)
    rows = zip(data.sequences, data.hidden, strict=True)
    return write_table(folder, [(f"p{i}", text, "abc"[int(3 * value)]) for i, (text, value) in enumerate(rows)])


def imbalanced(folder: Path, seed: int) -> str:
    """Two classes, one record in six being of the second."""
    data = Data.drawn(seed, count=200, kinds=6)
    rows = zip(data.sequences, data.hidden, strict=True)
    return write_table(folder, [(f"p{i}", text, "ab"[int(value < 1 / 6)]) for i, (text, value) in enumerate(rows)])


def numbers(folder: Path, seed: int) -> str:
    """One number per sequence, with noise."""
    data, rng = Data.drawn(seed, count=240), np.random.default_rng(seed + 1)
    rows = zip(data.sequences, data.hidden, strict=True)
    return write_table(
        folder,
        [(f"p{i}", text, f"{10 * value + 0.3 * rng.normal():.3f}") for i, (text, value) in enumerate(rows)],
    )


def several(folder: Path, seed: int) -> str:
    """Several labels per sequence."""
    data = Data.drawn(seed, count=200)
    texts = zip(data.sequences, data.hidden, strict=True)
    rows = [
        (f"p{i}", text, ";".join(["low"] * int(value < 0.5) + ["edge"] * int(abs(value - 0.5) > 0.17)))
        for i, (text, value) in enumerate(texts)
    ]
    return write_table(folder, rows)


def residues(folder: Path, seed: int) -> str:
    """One class per residue: whether it is one of eight letters, or follows one."""
    data = Data.drawn(seed, count=120)
    rows = []
    for i, text in enumerate(data.sequences):
        marks = ["H" if letter in "ACDEFGHI" else "C" for letter in text]
        rows.append((f"p{i}", text, "".join(marks)))
    return write_table(folder, rows)


def fasta(folder: Path, seed: int) -> str:
    """Sequences without labels."""
    path = folder / "corpus.fasta"
    data = Data.drawn(seed, count=300)
    path.write_text("".join(f">p{i}\n{text}\n" for i, text in enumerate(data.sequences)))
    return str(path)


Found = Callable[[Path, int], list[Remark]]
"""From a folder and a seed to what the diagnosis says."""


def finetuning(table: str, folder: Path, seed: int, **settings: object) -> FinetuneConfig:
    """A finetuning of a tiny network."""
    usual = {"model": TRANSFORMER, "steps": 30, "learning_rate": 2e-3, "head_learning_rate": 4e-3} | settings
    if "init_from" in usual:
        del usual["model"]
    return FinetuneConfig(
        table=table, output=str(folder / "run"), device="cpu", seed=seed, tokens_per_step=640, num_evaluations=3,
        debug=True, **usual,  # type: ignore[arg-type]
    )  # fmt: skip


def pretraining(path: str, folder: Path, seed: int, **settings: object) -> PretrainConfig:
    """A pretraining of a tiny network."""
    usual = {"model": TRANSFORMER, "steps": 30, "learning_rate": 2e-3} | settings
    return PretrainConfig(
        inputs=(path,), output=str(folder / "run"), device="cpu", seed=seed, tokens_per_step=640, num_evaluations=3,
        debug=True, **usual,  # type: ignore[arg-type]
    )  # fmt: skip


def finetuned(write: Write, plant: Plant = lambda job: job, **settings: object) -> Found:
    """A finetuning, diagnosed, also where it fails.

    Args:
        plant: puts a fault into the training before it is looked at.
    """

    def found(folder: Path, seed: int) -> list[Remark]:
        job = plant(prepare_finetuning(finetuning(write(folder, seed), folder, seed, **settings), Silent()))
        run = folder / "run"
        run.mkdir()
        try:
            fit_diagnosed(subject_of(job), job.training, run, Silent())
        except RunError:
            subject = Subject(training=job.training, config=job.config)
            return list(diagnosis_of(subject, run, Silent()) or ())
        outputs = outputs_of(job.training.network, job.data.task, held_out(job), job.training.loop)
        return list(diagnosis_of(subject_of(job), run, Silent(), outputs=outputs) or ())

    return found


def pretrained(change: Callable[[MaskedLM], MaskedLM] = lambda objective: objective, **settings: object) -> Found:
    """A pretraining, diagnosed.

    Args:
        change: what is asked.
    """

    def found(folder: Path, seed: int) -> list[Remark]:
        run = folder / "run"
        run.mkdir()
        setup = set_up(pretraining(fasta(folder, seed), folder, seed, **settings), Silent())
        corpus = setup.read(run, Silent())
        training = prepare(setup, corpus, Silent())
        training = replace(training, objective=change(training.objective))  # type: ignore[arg-type]
        subject = Subject(training=training, config=setup.config)
        fit_diagnosed(subject, training, run, Silent())
        guess = float(np.log(corpus.unigram_perplexity()))
        return list(diagnosis_of(subject, run, Silent(), guess=guess) or ())

    return found


def from_pretrained(**settings: object) -> Found:
    """A finetuning from a pretraining that was done before."""

    def found(folder: Path, seed: int) -> list[Remark]:
        base = folder / "base"
        config = pretraining(fasta(folder, seed), folder, seed, steps=20)
        pretrain(replace(config, output=str(base), debug=False), Silent())
        return finetuned(classes, init_from=str(base), **settings)(folder, seed)

    return found


def changed(job: FinetuningJob, **fields: object) -> FinetuningJob:
    """The job with other fields of its training."""
    return replace(job, training=replace(job.training, **fields))  # type: ignore[arg-type]


def network_of(job: FinetuningJob) -> Network:
    """The network of a job."""
    assert isinstance(job.training.network, Network)
    return job.training.network


def freeze_head(job: FinetuningJob) -> FinetuningJob:
    """The head is not trained, though nobody asked for that."""
    for parameter in network_of(job).head.parameters():
        parameter.requires_grad_(False)
    return job


@torch.no_grad()
def put_nan(job: FinetuningJob) -> FinetuningJob:
    """One weight is nan."""
    next(network_of(job).head.parameters()).view(-1)[0] = torch.nan
    return job


@torch.no_grad()
def start_at_zero(job: FinetuningJob) -> FinetuningJob:
    """Every matrix starts at 0."""
    for parameter in network_of(job).parameters():
        if parameter.ndim > 1:
            parameter.zero_()
    return job


@torch.no_grad()
def kill_units(job: FinetuningJob) -> FinetuningJob:
    """The units before each ReLU are pushed far below 0."""
    for name, parameter in network_of(job).body.named_parameters():
        if "norm" in name and name.endswith("bias"):
            parameter.fill_(-20.0)
    return job


@dataclass(frozen=True)
class InFileOrder:
    """Examples in the order of the file, epoch after epoch."""

    num_examples: int

    def __call__(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return positions % self.num_examples, positions // self.num_examples


def keep_file_order(job: FinetuningJob) -> FinetuningJob:
    """Nothing is shuffled."""
    examples = job.training.examples
    return changed(job, examples=replace(examples, order=InFileOrder(len(examples))))


class Leaky(nn.Module):
    """A network in which each sequence sees the longest of its batch, as it does where padding is not masked."""

    def __init__(self, inner: Network) -> None:
        super().__init__()
        self.body, self.head = inner.body, inner.head
        self.inner = [inner]

    def forward(self, batch: Batch) -> Tensor:
        outputs: Tensor = self.inner[0](batch)
        padding = (batch.lengths.max() - batch.lengths).float() / batch.lengths.max()
        return outputs + 0.05 * padding[:, None].to(outputs) if len(outputs) == len(batch) else outputs


def leak_padding(job: FinetuningJob) -> FinetuningJob:
    """Outputs depend on how much a sequence is padded."""
    return changed(job, network=Leaky(network_of(job)), evaluate=dict, judged_by=None, keep_best=False)


@dataclass(frozen=True)
class Inverted(MaskedLM):
    """Asks for the letters that can be seen, and not for those that are hidden."""

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        prepared = super().prepare(batch, draws)
        assert prepared.decode is not None
        rest = torch.isin(batch.inputs, torch.from_numpy(self.alphabet.standard_ids))
        rest[prepared.decode] = False
        decode = rest.nonzero().squeeze(1)
        return replace(prepared, decode=decode, targets=batch.inputs[decode])


def invert(objective: MaskedLM) -> MaskedLM:
    """The mask the other way round."""
    return Inverted(objective.alphabet)


def shuffled(folder: Path, seed: int) -> str:
    """Three classes that belong to other sequences."""
    data = Data.drawn(seed)
    order = np.random.default_rng(seed + 7).permutation(len(data.hidden))
    rows = zip(data.sequences, data.hidden[order], strict=True)
    return write_table(folder, [(f"p{i}", text, "abc"[int(3 * value)]) for i, (text, value) in enumerate(rows)])


def leaking(folder: Path, seed: int) -> str:
    """Three classes, each with a tag of its own before its sequences."""
    data = Data.drawn(seed)
    rows = zip(data.sequences, data.hidden, strict=True)
    return write_table(
        folder,
        [
            (f"p{i}", ("MK", "MG", "MH")[int(3 * value)] + text, "abc"[int(3 * value)])
            for i, (text, value) in enumerate(rows)
        ],
    )


def sorted_classes(folder: Path, seed: int) -> str:
    """Three classes, one after the other."""
    data = Data.drawn(seed)
    rows = sorted(zip(data.hidden, data.sequences, strict=True))
    return write_table(folder, [(f"p{i}", text, "abc"[int(3 * value)]) for i, (value, text) in enumerate(rows)])


HEALTHY: dict[str, Found] = {
    "regression": finetuned(numbers),
    "classes, transformer": finetuned(classes),
    "imbalanced classes": finetuned(imbalanced),
    "several labels": finetuned(several),
    "labels of residues": finetuned(residues),
    "classes, dilated CNN": finetuned(classes, model=CNN),
    "classes, residual CNN with ReLU": finetuned(classes, model=RELU_CNN),
    "masked letters": pretrained(),
    "masked spans": pretrained(objective="span-masking"),
    "classes, from a pretraining": from_pretrained(),
    "classes, low-rank adapters": from_pretrained(lora="rank=4", learning_rate=5e-3),
}
"""Trainings without a fault: none of them is to be warned of."""

_SHORT = 12
FAULTS: dict[str, tuple[tuple[str, ...], Found]] = {
    "rate times 100": (
        ("learning rate", "update ratio"),
        finetuned(classes, learning_rate=0.2, head_learning_rate=0.4),
    ),
    "frozen head": (("frozen parameters",), finetuned(classes, freeze_head, steps=_SHORT)),
    "shuffled labels": (("labels",), finetuned(shuffled)),
    "inverted mask": (("masks",), pretrained(invert, steps=_SHORT)),
    "a weight that is nan": (("not finite",), finetuned(classes, put_nan, steps=_SHORT)),
    "no shuffling": (("order",), finetuned(sorted_classes, keep_file_order, steps=_SHORT)),
    "leaking labels": (("leaking labels",), finetuned(leaking, steps=_SHORT)),
    "wrong padding": (("neighbours",), finetuned(classes, leak_padding, steps=_SHORT)),
    "weights of zero": (("initial weights",), finetuned(classes, start_at_zero, steps=_SHORT)),
    "dead ReLU": (("dead units",), finetuned(classes, kill_units, model=RELU_CNN, steps=_SHORT)),
}
"""Planted faults, and the checks whose warning names them."""


def warned(remarks: list[Remark]) -> set[str]:
    """The checks that warn."""
    return {remark.check for remark in remarks if remark.severity == "warning"}
