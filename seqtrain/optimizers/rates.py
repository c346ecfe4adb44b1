"""The rate and the decay of each parameter: what all optimisers share."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks?)\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class Rates(ABC):
    """The fields that every optimiser has, and the groups of parameters that follow from them."""

    learning_rate: float
    """Peak rate; a schedule multiplies it."""
    head_learning_rate: float | None = None
    """Peak rate of the parameters under ``head.``; None for the same rate."""
    weight_decay: float = 0.0
    """Of matrices and kernels; biases, norms and embeddings do not decay. Each optimiser says whether it is part of the
    gradient (L2) or taken from the weights themselves (decoupled)."""
    layer_decay: float = 1.0
    """Factor on the rate per layer away from the head (Howard & Ruder 2018; Clark et al. 2020); 1 for one rate."""

    def __post_init__(self) -> None:
        require_least("learning_rate", self.learning_rate, 0)
        if self.head_learning_rate is not None:
            require_least("head_learning_rate", self.head_learning_rate, 0)
        require_least("weight_decay", self.weight_decay, 0)
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay}; give a number above 0 and at most 1")

    @abstractmethod
    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """An optimiser of the model's trainable parameters whose groups hold their peak rate under "peak"."""

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """The trainable parameters in groups of one "peak" (and "lr") and one "weight_decay", those of the body first.

        Raises:
            ValueError: layer_decay is below 1 and the model has no numbered layers.
        """
        distances = distances_from_head(model) if self.layer_decay < 1 else {}
        groups: dict[tuple[bool, int, bool], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                in_head = is_head(name) and self.head_learning_rate is not None
                key = (in_head, distances.get(name, 0), is_decaying(name, parameter))
                groups.setdefault(key, []).append(parameter)
        settings = []
        for (in_head, distance, decays), parameters in sorted(groups.items(), key=lambda item: item[0]):
            rate = self.learning_rate if not in_head or self.head_learning_rate is None else self.head_learning_rate
            peak = rate * self.layer_decay**distance
            decay = self.weight_decay if decays else 0.0
            settings.append({"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay})
        return settings


def is_head(name: str) -> bool:
    """Whether a parameter of this name belongs to the head of a network."""
    return name.startswith("head.")


def is_decaying(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is a matrix or a kernel: not a bias, not of a norm, not an embedding.

    T5 keeps the biases of relative positions as an embedding that is called relative_attention_bias.
    """
    return parameter.ndim > 1 and "embedding" not in name and "relative_attention_bias" not in name


def distances_from_head(model: nn.Module) -> dict[str, int]:
    """Layers between each parameter and the head, by the parameter's name.

    0 in the head and in what follows the last layer, 1 in the last layer of n, n in the first, n + 1 in embeddings and
    in whatever else comes before the layers, such as the first convolution of a residual network.

    Raises:
        ValueError: no parameter has the number of a layer in its name.
    """
    body = [name for name, _ in model.named_parameters() if not is_head(name)]
    numbers = layer_numbers(model)
    if not numbers:
        raise ValueError("layer_decay needs layers, named layers.0, layers.1, … or blocks.0, …; leave it at 1")
    depth = 1 + max(numbers.values())
    start = next(place for place, name in enumerate(body) if name in numbers)
    before = {name: depth + 1 for place, name in enumerate(body) if place < start or "embedding" in name}
    return {**before, **{name: depth - number for name, number in numbers.items()}}


def layer_numbers(model: nn.Module) -> dict[str, int]:
    """The number of the layer, from 0 on, that each parameter of a layer of the body belongs to, by its name."""
    body = (name for name, _ in model.named_parameters() if not is_head(name))
    return {name: int(found[1]) for name in body if (found := _LAYER.search(name))}


def require_least(name: str, value: float, least: float) -> None:
    """Refuse anything but a finite number of at least ``least``."""
    if not least <= value < math.inf:
        raise ValueError(f"{name} is {value}; give a number of at least {least}")


def require_fraction(*named: tuple[str, float]) -> None:
    """Refuse anything but numbers in [0, 1)."""
    for name, value in named:
        if not 0 <= value < 1:
            raise ValueError(f"{name} is {value}; give a number from 0 up to, but not including, 1")


def require_betas(betas: tuple[float, ...]) -> None:
    """Refuse anything but two numbers in [0, 1)."""
    if len(betas) != 2:
        raise ValueError(f"betas are {betas}; give two numbers, such as 0.9/0.999")
    require_fraction(("the first of betas", betas[0]), ("the second of betas", betas[1]))
