"""Which device and precision a command runs on, and why."""

from __future__ import annotations

import re
from typing import Literal

import torch

from seqtrain.errors import InputError
from seqtrain.training import Precision


def choose_device(choice: str) -> tuple[torch.device, str]:
    """The device for ``--device`` auto, cpu, cuda, cuda:1 or mps, and the reason in words; auto never fails.

    Raises:
        InputError: a device that is not there.
    """
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if choice == "auto":
        if has_cuda:
            return torch.device("cuda"), f"{torch.cuda.get_device_name()}, found by --device auto"
        if has_mps:
            return torch.device("mps"), "Apple GPU, found by --device auto"
        num_threads = torch.get_num_threads()
        threads = f"{num_threads} {'thread' if num_threads == 1 else 'threads'}"
        return torch.device("cpu"), f"CPU, {threads}; --device auto found no GPU"
    kind, colon, number = choice.partition(":")
    there = {"cpu": True, "cuda": has_cuda, "mps": has_mps}
    if kind not in there or (colon and (kind != "cuda" or re.fullmatch("[0-9]+", number) is None)):
        raise InputError(f"--device {choice}: choose auto, cpu, cuda, cuda:N or mps")
    if not there[kind]:
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise InputError(
            f"--device {choice}: torch {torch.__version__} finds none here (only {found}); use --device auto"
        )
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise InputError(f"--device {choice}: there are {torch.cuda.device_count()} GPUs, counted from 0")
    return torch.device(choice), f"{choice}, as asked"


def choose_precision(choice: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """bf16 on CUDA from compute capability 8.0, which computes it natively; fp32 elsewhere, unless asked for."""
    if choice != "auto":
        return choice
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return "bf16"
    return "fp32"
