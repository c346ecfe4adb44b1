"""Low-rank adapters (LoRA, Hu et al. 2021): trained through peft, merged by ourselves, kept in peft's layout."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from seqtrain.errors import InputError
from seqtrain.models.network import Body, Network

_ADAPTABLE = (nn.Linear, nn.Conv1d)
_NUMBERED = re.compile(r"^.*\.\d+\.")
_ATTENTION = ("query", "key", "value", "attention_output", "attention.output.dense", "q", "k", "v", "o")
"""What is adapted where nobody says: the projections of attention, by the names they have in the bodies there are."""


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Adapters of rank r beside frozen weights: W + (alpha / r) B A, with B zero at first."""

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    """Of what goes into the adapters."""
    targets: tuple[str, ...] | None = None
    """Names of the layers that get one; None: the projections of attention or, in a body without any, every linear
    layer and convolution."""
    saved: Literal["merged", "adapter"] = "merged"
    """merged: added to the weights, so that the model is an ordinary one. adapter: kept apart from the weights that
    they were trained on, which must then stay where they are."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank is {self.rank}; give a whole number of at least 1, such as 8")
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha is {self.alpha}; give a number above 0, such as 16")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; give a number from 0 up to, but not including, 1")

    @property
    def scaling(self) -> float:
        """What the product of the two matrices is multiplied by."""
        return self.alpha / self.rank


def attach(network: Network, lora: Lora) -> list[str]:
    """Freeze the body and put fresh adapters into it, drawn from torch's global generator; the head is trained whole.

    Norms and biases of the body stay as they are, running statistics included.

    Returns:
        The names of the layers that got one, within the body.

    Raises:
        InputError: a target that the body does not have; peft is not installed.
    """
    names = adapted_layers(network.body, lora.targets)
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise InputError('--lora needs peft, which is not installed: pip install "seqtrain[lora]"') from None
    network.body.requires_grad_(False)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=[f"body.{name}" for name in names],
        bias="none",
    )
    # Within a module of no other kind: peft would look for settings of transformers in a body's own config.
    holder = nn.Module()
    holder.body = network.body
    inject_adapter_in_model(config, holder)
    return names


def adapted_layers(body: Body, targets: Sequence[str] | None) -> list[str]:
    """The layers of a body that targets name, by their whole name or what follows the number of the layer.

    Raises:
        InputError: a target that names none; lists those there are.
    """
    kinds: dict[str, list[str]] = {}
    for name in _called_layers(body):
        kinds.setdefault(_NUMBERED.sub("", name), []).append(name)
    if not kinds:
        raise InputError("--lora: this body has no linear layers or convolutions to adapt; leave it out")
    chosen = [kind for kind in kinds if _is_one_of(kind, _ATTENTION, kinds)] or list(kinds)
    if targets is not None:
        for target in targets:
            if not any(_is_one_of(kind, (target,), kinds) for kind in kinds):
                raise InputError(f"--lora: no layer is called {target!r}; there are {', '.join(kinds)}")
        chosen = [kind for kind in kinds if _is_one_of(kind, targets, kinds)]
    return [name for kind in chosen for name in kinds[kind]]


@torch.no_grad()
def _called_layers(body: Body) -> list[str]:
    """The linear layers and convolutions that a body calls, found by running it on one short sequence.

    Where a body takes the weight out of a layer and computes with it by itself, an adapter would be passed over.
    """
    layers = {
        name: module
        for name, module in body.named_modules()
        if type(module) in _ADAPTABLE and getattr(module, "groups", 1) == 1
    }
    called: set[nn.Module] = set()
    hooks = [layer.register_forward_hook(lambda module, *rest: called.add(module)) for layer in layers.values()]
    was_training = body.training
    device = next(body.parameters()).device
    try:
        body.eval()
        inputs = torch.arange(8, device=device) % body.config.vocabulary_size
        body(inputs, torch.tensor([0, len(inputs)], device=device))
    finally:
        body.train(was_training)
        for hook in hooks:
            hook.remove()
    return [name for name, layer in layers.items() if layer in called]


def _is_one_of(kind: str, targets: Sequence[str], kinds: Mapping[str, object]) -> bool:
    """Whether a kind of layer is named whole, or by its end where that is no kind of its own."""
    return any(kind == target or (kind.endswith(f".{target}") and target not in kinds) for target in targets)


@torch.no_grad()
def merge(network: Network, lora: Lora) -> dict[str, Tensor]:
    """Add the adapters to the weights and take them out, so that the body is an ordinary one again.

    Returns:
        What was added, as "layer.lora_A.weight" (r, …) and "layer.lora_B.weight" (…, r), by the names of the layers.
    """
    from peft.tuners.lora import LoraLayer

    body = network.body
    adapters: dict[str, Tensor] = {}
    for name, module in list(body.named_modules()):
        if isinstance(module, LoraLayer):
            layer = LoraLayer.get_base_layer(module)
            assert isinstance(layer, nn.Linear | nn.Conv1d)
            down, up = (_weight(side) for side in (module.lora_A, module.lora_B))
            layer.weight += product(down, up, lora.scaling, layer.weight)
            body.set_submodule(name, layer)
            adapters |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    body.requires_grad_(True)
    return adapters


def _weight(side: nn.ModuleDict) -> Tensor:
    """A copy of the weight that peft keeps under the name of its only adapter."""
    weight = side["default"].weight
    assert isinstance(weight, Tensor)
    return weight.detach().clone()


def product(down: Tensor, up: Tensor, scaling: float, weight: Tensor) -> Tensor:
    """What an adapter adds to a weight: scaling times up (K, r) times down (r, I), in the shape of the weight.

    Of a convolution, down (r, I, kernel) has the kernel of the weight (K, I, kernel), and up (K, r, 1) one of size 1.
    """
    return (scaling * up.flatten(1) @ down.flatten(1)).view(weight.shape)
