"""What contrastive pretraining needs around the loop: its head, what it refuses, and a watch for collapse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqtrain.batch import Batch, joined
from seqtrain.batching import Examples, budgeted
from seqtrain.draws import Draws
from seqtrain.errors import InputError
from seqtrain.fitting import Listener
from seqtrain.models.network import Network
from seqtrain.models.projection import ProjectionHead, ProjectionHeadConfig
from seqtrain.objectives import NNCLR, Contrastive, Score, SelfSupervised
from seqtrain.objectives.collapse import collapse_measures, collapsed
from seqtrain.orders import ByProgress, EasyFirst
from seqtrain.training import LoopConfig, StepReport, add_scores, autocast

_COMPARED = 256
"""Held-out sequences that are compared with each other: a loss over more of them is higher, whatever was learnt."""


def projection_head(objective: Contrastive) -> ProjectionHeadConfig:
    """The head that answers a contrastive objective."""
    return ProjectionHeadConfig(
        projections=objective.projections,
        predictor_width=max(2, objective.projections // 4) if objective.has_predictor else 0,
        support_size=objective.support_size if isinstance(objective, NNCLR) else 0,
    )


def with_support_of(objective: SelfSupervised, network: Network) -> SelfSupervised:
    """The objective with the support set of the network's head, where it looks into one."""
    if isinstance(objective, NNCLR) and isinstance(network.head, ProjectionHead):
        return replace(objective, support=network.head.support)
    return objective


def forget_support(network: Network) -> None:
    """Leave the support set, which only training needs, out of a finished network."""
    if isinstance(network.head, ProjectionHead):
        network.head.without_support()


def check_views(objective: SelfSupervised, words: str, augmented: bool) -> None:
    """Refuse views that would be equal.

    Raises:
        InputError: nothing is masked, cropped or augmented.
    """
    if isinstance(objective, Contrastive) and not augmented and not objective.makes_views_differ:
        raise InputError(
            f"--objective {words}: the two views of a sequence would be equal; mask letters (masked_fraction=0.15), "
            "crop (crop_fraction=0.5), or give --augment"
        )


def check_steps(objective: SelfSupervised, examples: Examples, tokens_per_step: int) -> None:
    """Refuse steps that may hold a single sequence, which there is nothing to compare with.

    Raises:
        InputError: fewer than two sequences, too few tokens for the longest two, or so many that no neighbour is left.
    """
    if not isinstance(objective, Contrastive):
        return
    if len(np.unique(examples.spans.records)) < 2:
        raise InputError("contrastive objectives compare sequences, and there is one to train on; give more")
    _check_curriculum(examples)
    longest = int(np.sort(examples.num_tokens)[-2:].sum())
    if tokens_per_step < longest:
        raise InputError(
            f"--tokens-per-step {tokens_per_step}: two sequences in {objective.num_views} views take up to {longest:,} "
            f"tokens, and one has nothing to be compared with; give at least {longest}, or lower --max-length"
        )
    if isinstance(objective, NNCLR):
        _check_neighbours(objective, examples, tokens_per_step)


def _check_neighbours(objective: NNCLR, examples: Examples, tokens_per_step: int) -> None:
    """Refuse steps that leave no entry of other sequences in the support set, in which neighbours are looked for.

    Raises:
        InputError: a step that holds the whole corpus, or as many sequences as the support set has places.
    """
    in_step = tokens_per_step / float(examples.num_tokens.mean())
    if tokens_per_step >= int(examples.num_tokens.sum()):
        raise InputError(
            f"--objective nnclr: a step of {tokens_per_step:,} tokens holds all sequences, and neighbours are others "
            f"of earlier steps; give --tokens-per-step {tokens_per_step // 4} or less, or take sim-clr"
        )
    if in_step >= objective.support_size:
        raise InputError(
            f"--objective nnclr: support_size={objective.support_size} is no more than the {in_step:,.0f} sequences of "
            "a step, whose own entries are no neighbours; give a larger one, such as 4096"
        )


def _check_curriculum(examples: Examples) -> None:
    """Refuse an order in which the sequences of a step are one.

    Raises:
        InputError: a group, or the easiest examples, of one sequence.
    """
    order, records = examples.order, examples.spans.records
    if isinstance(order, ByProgress):
        for number, name in enumerate(order.names):
            if len(np.unique(records[order.groups == number])) < 2:
                raise InputError(
                    f"--curriculum: a step shows one group, and {name} holds one sequence, which has nothing to be "
                    "compared with; ask for fewer groups"
                )
    if isinstance(order, EasyFirst):
        first = order.ranking[: max(1, int(order.first_fraction * len(order.ranking)))]
        if len(np.unique(records[first])) < 2:
            raise InputError(
                f"--curriculum: begins with {order.first_fraction:g} of the examples, one sequence, which has nothing "
                "to be compared with; raise first_fraction"
            )


def say_alone(objective: SelfSupervised, held_out: Examples, listener: Listener) -> None:
    """Say that what is held out tells nothing, where it is one sequence of which there is nothing to be told from."""
    if isinstance(objective, Contrastive) and len(np.unique(held_out.spans.records)) < 2:
        listener.say("one sequence is held out, with nothing to be compared with: its loss says nothing; give --valid")


def contrastive_measures(
    network: nn.Module, objective: Contrastive, examples: Examples, loop: LoopConfig, tokens_at_once: int
) -> dict[str, float]:
    """The mean loss and measures of held-out sequences, and whether their projections have collapsed.

    Sequences are compared within groups of about 256 in the order of the examples, so that the figures depend neither
    on how many there are nor on what fits into memory.
    """
    total: Score | None = None
    rows: list[Tensor] = []
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            for group in np.array_split(np.arange(len(examples)), -(-len(examples) // _COMPARED)):
                prepared, outputs = [], []
                for batch in _batches(examples, group, tokens_at_once):
                    prepared.append(objective.prepare(batch.to(loop.device), Draws(batch.keys.to(loop.device))))
                    with autocast(loop.device, loop.precision):
                        outputs.append(network(prepared[-1]))
                together = torch.cat(outputs).float()
                score = objective.score(together, joined(prepared))
                total = score if total is None else add_scores(total, score)
                rows.append(together[:, : objective.projections].cpu())
    finally:
        network.train(was_training)
    assert total is not None, "something is held out"
    count, projections = float(total.count), torch.cat(rows)
    means = {name: float(value) / count for name, value in total.sums.items()}
    return {"loss": float(total.loss) / count, **means, **collapse_measures(projections[::2], projections[1::2])}


def _batches(examples: Examples, units: NDArray[np.int64], tokens_at_once: int) -> Iterator[Batch]:
    for part in budgeted(examples.num_tokens[units], tokens_at_once):
        yield examples.batch(units[part], np.zeros(len(units[part]), np.int64))


@dataclass(kw_only=True)
class CollapseWatch:
    """A listener that passes everything on, and says once, in words, that the network has collapsed."""

    listener: Listener
    has_spoken: bool = field(default=False, init=False)

    def say(self, text: str) -> None:
        """One line of text."""
        self.listener.say(text)

    def step_done(self, report: StepReport, num_steps: int) -> None:
        """An update was made."""
        self.listener.step_done(report, num_steps)

    def evaluated(self, step: int, num_steps: int, measures: dict[str, float]) -> None:
        """The held-out records were scored; before the first update, nothing has been learnt that could be lost."""
        self.listener.evaluated(step, num_steps, measures)
        problem = collapsed(measures) if step else None
        if problem is not None and not self.has_spoken:
            self.has_spoken = True
            self.listener.say(f"step {step}: {problem}")


def watched_for_collapse(objective: SelfSupervised, listener: Listener) -> Listener:
    """The listener, which for contrastive objectives is also told when the network collapses."""
    return CollapseWatch(listener=listener) if isinstance(objective, Contrastive) else listener
