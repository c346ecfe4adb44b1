"""How much memory is used at most, and how much is left."""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_INFO = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")


class PeakMemory:
    """The most memory in use since it was made: of the CUDA device by torch, elsewhere of this process."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.since_start = False
        """Whether the process could not be asked anew, so that its peak may be an older one."""
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_allocated(device)
            return
        _give_back()
        try:
            _CLEAR.write_text("5")  # Linux: forget the peak so far
            self.before = _of_status("VmRSS")
        except OSError:
            self.since_start = True
            self.before = self.peak()

    def peak(self) -> int:
        """Bytes."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        if not self.since_start:
            return _of_status("VmHWM")
        try:
            import resource
        except ModuleNotFoundError:  # Windows
            return 0
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size if sys.platform == "darwin" else 1024 * size

    @property
    def what(self) -> str:
        """What the figure is of."""
        if self.device.type == "cuda":
            return "allocated by torch on the GPU"
        return "resident memory of the whole process" + (" since it began" if self.since_start else "")


def free_bytes(device: torch.device) -> int | None:
    """Memory that could still be taken, a container's limit respected; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        free = 1024 * int(re.findall(r"MemAvailable:\s+(\d+)", _INFO.read_text())[0])
    except (OSError, IndexError):
        return None
    try:
        limit, used = ((_CONTAINER / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return free if limit == "max" else max(0, min(free, int(limit) - int(used)))
    except (OSError, ValueError):
        return free


def _give_back() -> None:
    """Hand what the C library keeps for later back to the system, where it can: kept memory would hide new needs."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _of_status(name: str) -> int:
    """Bytes, from the kernel's account of this process."""
    return 1024 * int(re.findall(rf"{name}:\s+(\d+)", _STATUS.read_text())[0])
