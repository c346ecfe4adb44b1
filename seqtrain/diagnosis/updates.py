"""How far each update moves each layer: the ratio of update to weight, gradients, and parameters that none reaches."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqtrain.diagnosis.remarks import Remark, fine, note, shown, some, warning
from seqtrain.optimizers.rates import is_head
from seqtrain.regularization import LearningRates, Regularizer

RATIO, NO_GRADIENT, VANISHING = "update ratio", "no gradient", "gradient sizes"
_SMALL, _LARGE, _MUCH, _HUGE = 1e-6, 0.1, 0.2, 0.4
"""Of the length of a layer's weights. Around 1e-3 is usual (Karpathy, CS231n notes on learning, "ratio of weights :
updates"); Adam on weights that start at 0.02 moves them by rate / 0.02, 5 % at a rate of 1e-3, in its first steps."""
_REWRITTEN = 1.0
"""By one update, in most layers."""
_FIRST = 3
_SAMPLED, _DRAWN = 40, 5
_UNEVEN = 1e-5
_LAYER = re.compile(r"^(.*?\b(?:layers?|blocks?)\.\d+)\.")
EXPONENTS = np.linspace(-12, 2, 29)
"""(E + 1,) ends of the bins of log10 |gradient|."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What one update did to one layer."""

    step: int
    """Updates before it."""
    layer: str
    ratio: float
    """Length of the change of its matrices by the length of these; nan where they are all 0."""
    gradient: float
    """Length of the gradient of all its parameters, as the optimiser gets it."""
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class Watch(Regularizer):
    """Looks at some of the updates of a training without changing anything: the last of its regularisers.

    It stands where regularisers do, as these are called right before and right after each update, so that the loop
    knows nothing of it. In the updates that it looks at it holds a second copy of the trained weights.
    """

    network: nn.Module
    """The one that is trained; trials on copies are passed over."""
    num_steps: int
    moved: list[Moved] = field(default_factory=list)
    reached: set[str] = field(default_factory=set)
    """Names of parameters that had a gradient in some update."""
    expected: set[str] = field(default_factory=set)
    """Names of parameters that were to be trained in some update."""
    exponents: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """By layer the (E,) counts of log10 |gradient| in the last of some five updates; 0 is left out."""
    _before: dict[str, Tensor] = field(default_factory=dict)

    def looks_at(self, step: int) -> bool:
        """The first updates, some forty in between, and the last."""
        return step < _FIRST or step % max(1, self.num_steps // _SAMPLED) == 0 or step == self.num_steps - 1

    @torch.no_grad()
    def before_update(self, model: nn.Module, step: int) -> None:
        """Keep the weights of before."""
        if model is not self.network or not self.looks_at(step):
            return
        self._before.clear()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                self.expected.add(name)
                self._before[name] = parameter.detach().clone()
                if parameter.grad is not None and bool(parameter.grad.any()):
                    self.reached.add(name)

    @torch.no_grad()
    def after_update(self, model: nn.Module, step: int, rates: LearningRates) -> None:
        """Measure what has changed."""
        if model is not self.network or not self._before:
            return
        layers: dict[str, list[tuple[nn.Parameter, Tensor]]] = {}
        for name, parameter in model.named_parameters():
            if name in self._before:
                layers.setdefault(layer_of(name), []).append((parameter, self._before[name]))
        for layer, pairs in layers.items():
            matrices = [(after.detach(), before) for after, before in pairs if after.ndim > 1]
            gradients = [after.grad.detach() for after, _ in pairs if after.grad is not None]
            change = _length([after - before for after, before in matrices])
            size = _length([before for _, before in matrices])
            self.moved.append(
                Moved(
                    step=step,
                    layer=layer,
                    ratio=change / size if size else math.nan,
                    gradient=_length(gradients),
                    learning_rate=max((rates.get(after, 0.0) for after, _ in pairs), default=0.0),
                )
            )
            if step % max(1, self.num_steps // _DRAWN) == 0 or step == self.num_steps - 1:
                self.exponents[layer] = _exponents(gradients)
        self._before.clear()


def judge_updates(watch: Watch) -> list[Remark]:
    """What is said of the ratios, of the sizes of gradients, and of parameters that no gradient reached."""
    if not watch.moved:
        return []
    return [_judge_ratios(watch), _judge_reach(watch), _judge_sizes(watch)]


def ratios_by_layer(watch: Watch) -> dict[str, float]:
    """The ratio of each layer that a quarter of its updates exceed, so that warm-up and the fading end count little."""
    ratios: dict[str, list[float]] = {}
    for each in watch.moved:
        if math.isfinite(each.ratio):
            ratios.setdefault(each.layer, []).append(each.ratio)
    return {layer: float(np.quantile(values, 0.75)) for layer, values in ratios.items()}


def as_json(watch: Watch) -> dict[str, Any]:
    """By layer the ratio, and the median length of the gradient."""
    gradients: dict[str, list[float]] = {}
    for each in watch.moved:
        gradients.setdefault(each.layer, []).append(each.gradient)
    ratios = ratios_by_layer(watch)
    return {
        layer: {"update_ratio": ratios.get(layer), "gradient": float(np.median(values))}
        for layer, values in gradients.items()
    }


def layer_of(name: str) -> str:
    """What a parameter is counted with: its layer or block, else the part of the network that it is in."""
    found = _LAYER.match(name)
    if found:
        return found[1]
    # The head as one: some of its matrices start at 0, and have no length to compare with.
    return "head" if is_head(name) else ".".join(name.split(".")[:2])


def _judge_ratios(watch: Watch) -> Remark:
    ratios = ratios_by_layer(watch)
    if not ratios:
        return fine(RATIO, "there are no weights to compare updates with")
    largest, smallest = max(ratios, key=lambda each: ratios[each]), min(ratios, key=lambda each: ratios[each])
    spread = (
        f"updates change the weights by {shown(ratios[smallest])} ({smallest}) to {shown(ratios[largest])} ({largest}) "
        "of their length; about 1e-3 is usual"
    )
    overall = float(np.median(list(ratios.values())))
    rewritten = [layer for layer in ratios if _highest(watch, layer) > _REWRITTEN]
    if overall > _MUCH or ratios[largest] > _HUGE or len(rewritten) > len(ratios) / 2:
        if len(rewritten) > len(ratios) / 2:
            most = max(rewritten, key=lambda each: _highest(watch, each))
            spread += f", and a single update changed those of {most} by {shown(_highest(watch, most))}"
        return warning(
            RATIO,
            f"{spread}: the learning rate is too high, as weights are rewritten within a few steps",
            "divide --learning-rate by 10 to 100, or let --learning-rate auto find it",
            ratios[largest],
        )
    if overall < _SMALL:
        return warning(
            RATIO,
            f"{spread}: the learning rate is too low to change anything",
            "multiply --learning-rate by 10 to 1000, or let --learning-rate auto find it",
            ratios[largest],
        )
    if ratios[largest] > _LARGE:
        return note(RATIO, spread, "if the loss jumps, lower --learning-rate or --head-learning-rate", ratios[largest])
    slow = [layer for layer, ratio in ratios.items() if ratio < _SMALL]
    if slow:
        return note(RATIO, f"{spread}; nearly at rest: {some(slow)}", "look at --layer-decay", ratios[smallest])
    return fine(RATIO, spread, overall)


def _highest(watch: Watch, layer: str) -> float:
    return max((each.ratio for each in watch.moved if each.layer == layer and math.isfinite(each.ratio)), default=0.0)


def _judge_reach(watch: Watch) -> Remark:
    matrices = {name for name, each in watch.network.named_parameters() if each.ndim > 1}
    missed = sorted((watch.expected - watch.reached) & matrices)
    if not missed:
        return fine(NO_GRADIENT, "a gradient reached every trainable matrix", 0.0)
    share = len(missed) / len(watch.expected & matrices)
    return warning(
        NO_GRADIENT,
        f"no gradient ever reached {len(missed)} trainable matrices ({some(missed)}): they are as they "
        "were at the start",
        "look whether they are used, and for detached tensors, dead units or weights of 0 behind them",
        share,
    )


def _judge_sizes(watch: Watch) -> Remark:
    sizes = {layer: each["gradient"] for layer, each in as_json(watch).items() if each["gradient"] > 0}
    if len(sizes) < 2:
        return fine(VANISHING, "one layer is trained")
    low, high = min(sizes, key=lambda each: sizes[each]), max(sizes, key=lambda each: sizes[each])
    ratio = sizes[low] / sizes[high]
    said = f"the gradient of {low} is {shown(sizes[low])} long, that of {high} {shown(sizes[high])}"
    if ratio < _UNEVEN:
        advice = "take a network with norms and residual connections, fewer layers, or another --initialise"
        return note(VANISHING, f"{said}: it vanishes on the way", advice, ratio)
    return fine(VANISHING, said, ratio)


def _length(tensors: list[Tensor]) -> float:
    return float(torch.nn.utils.get_total_norm(tensors)) if tensors else 0.0


def _exponents(gradients: list[Tensor]) -> NDArray[np.int64]:
    counts = np.zeros(len(EXPONENTS) - 1, np.int64)
    for gradient in gradients:
        sizes = gradient.abs().flatten().double()
        logs = sizes[sizes > 0].log10().clamp(EXPONENTS[0], EXPONENTS[-1]).cpu().numpy()
        counts += np.histogram(logs, bins=EXPONENTS)[0]
    return counts
