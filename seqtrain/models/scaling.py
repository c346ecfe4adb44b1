"""Compound scaling: the width and the depth of a network from one number, its parameters."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn

from seqtrain.errors import InputError
from seqtrain.models.weightless import weightless

_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMB])", re.IGNORECASE)
_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9}
_STEP = math.log(1.04)
"""One shape is kept of all those whose logarithms of parameters fall into a bin of this width."""
_LEAN = 1.5
"""Times that a depth may be above or below the curve's."""
_FARTHEST = math.log(1.4)
"""A request is refused if the nearest shape has so many times its parameters, or as many times fewer."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How a family of networks grows: along a curve depth ~ width^exponent (Tan & Le 2019, arXiv:1905.11946).

    There, width, depth and resolution are powers of one coefficient, with bases found once for the family; here the
    curve says the same of width and depth. Resolution would be the length of a protein, which is not ours to choose.
    """

    width: int
    depth: float
    """The depth on the curve at ``width``."""
    exponent: float
    """1: depth grows as fast as width; 0: only width grows."""
    multiple: Callable[[int], int] = lambda _: 8
    """Widths near this one are multiples of the answer."""
    least_width: int = 32
    most_width: int = 8192

    def depth_at(self, width: int) -> float:
        """The depth on the curve."""
        return self.depth * math.pow(width / self.width, self.exponent)

    def widths(self) -> list[int]:
        """All widths, in increasing order."""
        widths = [self.least_width]
        while widths[-1] < self.most_width:
            step = self.multiple(widths[-1])
            widths.append((widths[-1] // step + 1) * step)
        return widths

    def depths(self, width: int) -> range:
        """Whole depths near enough to the curve, at least 1."""
        depth = self.depth_at(width)
        return range(max(1, math.floor(depth / _LEAN)), max(1, math.ceil(depth * _LEAN)) + 1)


def width_and_depth(
    size: str, family: str, named: Iterable[str], growth: Growth, parameters_of: Callable[[int, int], int]
) -> tuple[int, int]:
    """The shape of the family whose parameters are nearest to a size such as 20M, in a list that leaves few gaps.

    Shapes are listed in the order of their parameters, among like ones that nearest to the curve: so more parameters
    asked for never give fewer, although the width may fall where a deeper network fits better.

    Args:
        size: a number with K, M or B.
        family: what such networks are called in messages.
        named: the sizes that have names, for messages.
        growth: the curve.
        parameters_of: width, depth -> parameters; must grow with either.

    Raises:
        InputError: not a number of parameters, or one that no shape of the family comes near.
    """
    match = _NUMBER.fullmatch(size.strip())
    if match is None:
        raise InputError(
            f"there is no {family} of size {size!r}; choose one of {', '.join(named)}, or any number of parameters, "
            "such as 20M"
        )
    wanted = float(match[1]) * _UNITS[match[2].upper()]
    shapes = _shapes_near(wanted, growth, parameters_of)
    found, parameters = min(shapes.items(), key=lambda item: abs(math.log(item[1] / max(wanted, 1))))
    if abs(math.log(parameters / max(wanted, 1))) > _FARTHEST:
        raise InputError(f"no {family} has about {size} parameters; the nearest has {parameters:,}")
    return found


def transformer_shape(
    size: str, family: str, named: Iterable[str], parameters_of: Callable[[int, int], int]
) -> dict[str, int]:
    """Width, depth and heads of a transformer from a size such as 20M, see :func:`width_and_depth`.

    Raises:
        InputError: not a number of parameters, or one that no shape comes near.
    """
    width, depth = width_and_depth(size, family, named, TRANSFORMERS, parameters_of)
    return {"width": width, "depth": depth, "num_heads": width // _head_size(width)}


def _head_size(width: int) -> int:
    return 32 if width < 512 else 64


TRANSFORMERS = Growth(width=96, depth=3, exponent=0.93, multiple=_head_size, least_width=64)
"""From our 300K (width 96, depth 3) to ESM-2 650M (width 1280, depth 33), with heads of 32, and of 64 in wide ones."""


def count_parameters(build: Callable[[], nn.Module]) -> int:
    """Parameters of the module that is built, without giving it memory."""
    with weightless():
        return sum(parameter.numel() for parameter in build().parameters())


def _shapes_near(wanted: float, growth: Growth, parameters_of: Callable[[int, int], int]) -> dict[tuple[int, int], int]:
    """(width, depth) -> parameters of the shapes around a number: in each bin the one nearest to the curve."""
    widths = growth.widths()
    # Both ends grow with the width, so the widths that can give the number lie side by side.
    least = bisect_left(widths, wanted / 2, key=lambda width: parameters_of(width, growth.depths(width)[-1]))
    most = bisect_left(widths, wanted * 2, key=lambda width: parameters_of(width, growth.depths(width)[0]))
    best: dict[int, tuple[float, tuple[int, int], int]] = {}
    for width in widths[max(0, least - 1) : most + 1]:
        for depth in growth.depths(width):
            parameters = parameters_of(width, depth)
            place = math.floor(math.log(parameters) / _STEP)
            candidate = (abs(math.log(depth / growth.depth_at(width))), (width, depth), parameters)
            best[place] = min(best.get(place, candidate), candidate)
    return {shape: parameters for _, shape, parameters in best.values()}
