"""Layers whose halves before and after attention are compiled, so that what lies between matrix products is fused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain.errors import InputError

HALVES = ("project", "finish")
"""Methods of a layer that work position by position: what comes before attention, and what comes after it."""


def compile_layers(network: nn.Module, backend: str = "inductor") -> None:
    """Compile the halves of every layer that has them, for training, on the device that the network is on.

    Attention stays as it is: it goes by the lengths of the sequences, which differ in every batch, whereas the halves
    know their number of positions as a variable only and are compiled once. Evaluation is not compiled. Parameters and
    modules keep their names.

    Args:
        backend: of torch.compile; "aot_eager" traces only, and needs no compiler.

    Raises:
        InputError: no layer has such halves, or what compiling needs is not installed.
    """
    layers = [module for module in network.modules() if all(hasattr(module, half) for half in HALVES)]
    if not layers:
        raise InputError("--compile: is for the transformers, whose layers it knows the halves of; leave it out")
    if backend == "inductor":
        _require_compiler(next(network.parameters()).device)
    for layer in layers:
        for half in HALVES:
            setattr(layer, half, _CompiledHalf(layer, half, backend))


class _CompiledHalf:
    """Stands in for a method of a layer; a copy of the layer gets one that stands in for its own."""

    def __init__(self, layer: nn.Module, half: str, backend: str) -> None:
        self.layer = layer
        self.plain: Callable[..., Any] = getattr(type(layer), half)
        # Random numbers as torch itself draws them: a layer that is computed twice must drop the same values twice.
        options: dict[str, Any] | None = {"fallback_random": True} if backend == "inductor" else None
        self.compiled = torch.compile(self.plain, dynamic=True, backend=backend, options=options)

    def __call__(self, *values: Any) -> Any:
        # Of 0 or 1 rows compilers make special cases, which would be compiled anew.
        few = any(isinstance(value, Tensor) and value.shape[0] < 2 for value in values)
        run = self.plain if few or not self.layer.training else self.compiled
        return run(self.layer, *values)


def _require_compiler(device: torch.device) -> None:
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise InputError("--compile: needs Triton on this GPU, which is not installed; pip install triton")
        if not any(map(shutil.which, (os.environ.get("CC", "cc"), "cc", "gcc", "clang"))):
            raise InputError("--compile: Triton needs a C compiler, and there is no gcc or clang; install one")
    elif not any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++"))):
        raise InputError("--compile: needs a C++ compiler on a CPU, and there is no g++ or clang++; install one")
