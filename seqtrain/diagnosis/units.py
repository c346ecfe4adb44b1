"""What units do on real sequences: dead and saturated ones, attention that has collapsed, histograms of it all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from seqtrain.batch import Batch
from seqtrain.diagnosis.copies import borrowed, device_of, same_draws
from seqtrain.diagnosis.remarks import Remark, fine, note, some, warning
from seqtrain.draws import Draws
from seqtrain.objectives import Objective

DEAD, SATURATED, COLLAPSED = "dead units", "saturated units", "attention entropy"
_SAME = 1e-6
"""Of its size: a unit whose outputs differ by less says the same of every position."""
_SHALLOW = 1e-3
"""Largest output of a rectifier that lets next to nothing through, such as GELU far below 0."""
_ENDS = 0.99
"""Of tanh, and of twice a sigmoid less 1."""
_MOSTLY = 0.95
"""Of the positions at which a saturated unit is at an end."""
_MANY, _MOST = 0.25, 0.5
"""Dead or saturated units of a layer: worth to know, and too many. A rate that is set too high can leave 40 % of the
units of ReLU dead (Karpathy, CS231n notes on neural networks)."""
_LEAST_ENTROPY = 0.01
"""Of ln L, that of even attention over L positions; collapse goes with unstable training (Zhai et al. 2023,
arXiv:2303.06296)."""
_KEPT = 4096
_NUM_BINS = 40


@dataclass(kw_only=True)
class Layer:
    """The outputs of one activation, or of one whole layer, over all positions that were seen."""

    name: str
    """The module and the function."""
    kind: str
    low: NDArray[np.float64]
    """(D,) least output of each unit."""
    high: NDArray[np.float64]
    """(D,)."""
    at_ends: NDArray[np.float64]
    """(D,) positions at which a unit that has ends is near one."""
    num_rows: int = 0
    values: list[NDArray[np.float32]] = field(default_factory=list)
    """A sample of the outputs."""

    @property
    def dead(self) -> float:
        """Share of units that say the same of every position."""
        same = self.high - self.low <= _SAME * np.maximum(1.0, np.abs(self.high))
        if self.kind in _RECTIFIERS:
            same |= np.maximum(np.abs(self.high), np.abs(self.low)) < _SHALLOW
        return float(same.mean()) if self.num_rows > 1 else math.nan

    @property
    def saturated(self) -> float:
        """Share of units that are near an end at nearly all positions; nan for functions without ends."""
        if self.kind not in _BOUNDED or self.num_rows < 2:
            return math.nan
        return float((self.at_ends >= _MOSTLY * self.num_rows).mean())

    def histogram(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(E + 1,) ends of bins and (E,) counts of a sample of the outputs, without a thousandth at each end."""
        values = np.concatenate(self.values).astype(np.float64)
        values = values[np.isfinite(values)]
        if not len(values):
            return np.array([0.0, 1.0]), np.array([0])
        low, high = np.quantile(values, [0.001, 0.999])
        counts, edges = np.histogram(values, bins=_NUM_BINS, range=(low, high if high > low else low + 1))
        return edges, counts.astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Units:
    """What was seen of a network at work."""

    layers: tuple[Layer, ...]
    """Activations, and the outputs of whole layers, in the order in which they were computed."""
    entropies: dict[str, tuple[float, ...]]
    """Of the attention of each head by module, as a share of ln L, the mean over all queries."""

    @property
    def activations(self) -> list[Layer]:
        """Those that are functions of single units."""
        return [layer for layer in self.layers if layer.kind != "output"]


@torch.no_grad()
def look_at_units(network: nn.Module, objective: Objective, batches: Iterable[Batch]) -> Units:
    """Run a network in evaluation mode and look at every activation function and attention in it.

    Functions are seen however they are called, as modules or not. The more positions the batches hold, the surer it is
    that a unit that is dead on all of them is dead.
    """
    recorder = _Recorder()
    device = device_of(network)
    with ExitStack() as stack:
        stack.enter_context(same_draws())
        stack.enter_context(borrowed(network))
        for name, module in network.named_modules():
            stack.callback(module.register_forward_pre_hook(recorder.enters(name)).remove)
            stack.callback(module.register_forward_hook(recorder.leaves(name)).remove)
        for batch in batches:
            prepared = objective.prepare(batch.to(device), Draws(batch.keys.to(device)))
            if prepared.decode is None or len(prepared.decode):
                with recorder:
                    network(prepared)
    entropies = {name: tuple((sums / rows).tolist()) for name, (sums, rows) in recorder.entropies.items()}
    return Units(layers=tuple(recorder.layers.values()), entropies=entropies)


def judge_units(units: Units) -> list[Remark]:
    """What is said of dead and saturated units and of the attention: one remark for each."""
    remarks = [
        _judged(DEAD, "say the same of every position", units.activations, [each.dead for each in units.activations]),
        _judged(
            SATURATED,
            "are at an end of their range nearly everywhere, where there is no gradient",
            units.activations,
            [each.saturated for each in units.activations],
        ),
    ]
    means = {name: float(np.mean(heads)) for name, heads in units.entropies.items()}
    collapsed = [name for name, mean in means.items() if mean < _LEAST_ENTROPY]
    if not means:
        return remarks
    lowest = min(means.values())
    said = f"the lowest mean entropy of a layer's attention is {lowest:.1%} of that of even attention"
    if not collapsed:
        return [*remarks, fine(COLLAPSED, said, lowest)]
    made = warning if len(collapsed) > len(means) / 2 else note
    words = f"{said}; in {len(collapsed)} of {len(means)} layers every position looks at one other ({some(collapsed)})"
    return [*remarks, made(COLLAPSED, words, "lower --learning-rate, or warm up for longer", lowest)]


def _judged(check: str, what: str, layers: Sequence[Layer], shares: Sequence[float]) -> Remark:
    known = [(share, layer.name) for share, layer in zip(shares, layers, strict=True) if not math.isnan(share)]
    if not known:
        return fine(check, "no such activations in this network")
    worst, name = max(known, key=lambda pair: pair[0])
    said = f"in {name} {worst:.0%} of the units {what}"
    if worst < _MANY:
        return fine(check, f"at most {worst:.0%} of the units of a layer {what}", worst)
    advice = "lower --learning-rate, try another --initialise, or an activation without flat parts such as leaky-relu"
    return (warning if worst >= _MOST else note)(check, said, advice, worst)


def _flat(out: Tensor) -> Tensor:
    return out.detach().reshape(-1, out.shape[-1]).float()


class _Recorder(TorchFunctionMode):
    """Sees every activation function that is called, and knows within which module."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: dict[str, Layer] = {}
        self.entropies: dict[str, tuple[NDArray[np.float64], int]] = {}
        self._inside: list[str] = [""]

    def enters(self, name: str) -> Callable[..., None]:
        def enter(module: nn.Module, arguments: Any) -> None:
            self._inside.append(name)

        return enter

    def leaves(self, name: str) -> Callable[..., None]:
        def leave(module: nn.Module, arguments: Any, result: Any) -> None:
            self._inside.pop()
            parent = name.rpartition(".")[0]
            if parent.endswith((".layers", ".blocks")) and isinstance(result, Tensor) and result.ndim == 2:
                self._record(name, "output", _flat(result))

        return leave

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        kind = _KINDS.get(func)
        if kind is not None and isinstance(out, Tensor) and out.ndim > 1 and out.numel():
            self._record(f"{self._inside[-1] or 'the network'} ({kind})", kind, _flat(out))
        elif func is functional.scaled_dot_product_attention:
            mask = (kwargs or {}).get("attn_mask", args[3] if len(args) > 3 else None)
            self._record_attention(args[0], args[1], mask)
        return out

    def _record(self, name: str, kind: str, rows: Tensor) -> None:
        # One function may be called on several widths within a module.
        key = name if name not in self.layers or len(self.layers[name].low) == rows.shape[1] else f"{name} {rows.shape}"
        width = rows.shape[1]
        layer = self.layers.get(key)
        if layer is None:
            layer = Layer(
                name=name, kind=kind, low=np.full(width, np.inf), high=np.full(width, -np.inf), at_ends=np.zeros(width)
            )
            self.layers[key] = layer
        layer.low = np.minimum(layer.low, rows.amin(dim=0).double().cpu().numpy())
        layer.high = np.maximum(layer.high, rows.amax(dim=0).double().cpu().numpy())
        if kind in _BOUNDED:
            centred = rows if kind == "tanh" else 2 * rows - 1
            layer.at_ends += (centred.abs() > _ENDS).sum(dim=0).double().cpu().numpy()
        layer.num_rows += len(rows)
        flat = rows.flatten()
        layer.values.append(flat[:: max(1, len(flat) // _KEPT)].cpu().numpy())

    def _record_attention(self, query: Tensor, key: Tensor, mask: Tensor | None) -> None:
        """query (n, H, m, d), key (n, H, L, d); entropies are shares of ln L, L being the keys that may be seen."""
        scores = query.float() @ key.float().transpose(-1, -2) * query.shape[-1] ** -0.5
        seen = torch.full(scores.shape, True, device=scores.device)
        if mask is not None and mask.dtype == torch.bool:
            seen = mask.expand(scores.shape)
            scores = scores.masked_fill(~seen, -torch.inf)
        elif mask is not None:
            scores = scores + mask
            seen = scores > torch.finfo(torch.float32).min / 2
        weights = scores.softmax(dim=-1)
        entropy = -(weights * weights.clamp(min=1e-30).log()).sum(dim=-1)
        most = seen.sum(dim=-1).clamp(min=1).log()
        if query.ndim != 4 or not bool((most > 0).any()):
            return
        shares = torch.where(most > 0, entropy / most.clamp(min=1e-9), 1.0)
        sums = shares.transpose(0, 1).flatten(1).double().sum(dim=1).cpu().numpy()
        before, rows = self.entropies.get(self._inside[-1], (np.zeros(len(sums)), 0))
        self.entropies[self._inside[-1]] = (before + sums, rows + shares[:, 0].numel())


_RECTIFIERS = ("relu", "gelu", "silu", "softplus")
_BOUNDED = ("tanh", "sigmoid")
_KINDS: dict[Any, str] = {
    functional.relu: "relu",
    torch.relu: "relu",
    Tensor.relu: "relu",
    functional.gelu: "gelu",
    functional.silu: "silu",
    functional.softplus: "softplus",
    functional.elu: "elu",
    functional.selu: "selu",
    functional.leaky_relu: "leaky relu",
    functional.prelu: "prelu",
    torch.prelu: "prelu",
    functional.tanh: "tanh",
    torch.tanh: "tanh",
    Tensor.tanh: "tanh",
    functional.sigmoid: "sigmoid",
    torch.sigmoid: "sigmoid",
    Tensor.sigmoid: "sigmoid",
}
