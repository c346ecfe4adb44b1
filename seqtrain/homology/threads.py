"""How many threads share the work."""

from __future__ import annotations

import os


def num_threads() -> int:
    """One for each core that this process may use, 8 at most; numpy lets others run while it computes."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, 8, int(allowed) if allowed.isdigit() and int(allowed) else cores))
