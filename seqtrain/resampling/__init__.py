"""Classes made more alike where sequences are points: new points between or beyond neighbours, or fewer records.

A point is the mean or maximum of the hidden states of a sequence. All methods see points of training records only. New
points have no letters, so they can train only what comes behind the body; methods that choose among records serve the
training of whole networks, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError
from seqtrain.resampling.interpolation import Extrapolation, Interpolation
from seqtrain.resampling.points import Growing, Points, grown, require_members
from seqtrain.resampling.selection import ClusterCentroids, TomekLinks, thinned
from seqtrain.resampling.smote import BorderlineSmote, Smote, SmoteTomek

Making = Smote | BorderlineSmote | SmoteTomek | Interpolation | Extrapolation
Resampling = Making | TomekLinks | ClusterCentroids

__all__ = [
    "BorderlineSmote",
    "ClusterCentroids",
    "Extrapolation",
    "Growing",
    "Interpolation",
    "Making",
    "Points",
    "Resampling",
    "Smote",
    "SmoteTomek",
    "TomekLinks",
    "check_resampling",
    "grown",
    "thinned",
]


def check_resampling(resampling: Resampling, counts: NDArray[np.int64], names: Sequence[str]) -> None:
    """Refuse, before anything is computed, what cannot be done with classes of some sizes (C,).

    Raises:
        InputError: a class with too few members, or the package that the method comes from is not installed.
    """
    if resampling.package is not None and find_spec(resampling.package) is None:
        raise InputError('needs imbalanced-learn, which is not installed: pip install "seqtrain[imbalance]"')
    if isinstance(resampling, Making):
        require_members(resampling, counts, names)
