"""The space of a search: knobs in the order in which they are turned, and the settings that stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from seqtrain.errors import InputError
from seqtrain.tune.knobs import Knob, Range, Settings, Value

_MOST_GRID = 100_000


@dataclass(frozen=True, kw_only=True)
class Space:
    """Knobs, each after those that its condition asks."""

    knobs: tuple[Knob, ...]
    fixed: Mapping[str, Value] = field(default_factory=dict)
    """Values of settings that are not varied, which conditions may ask; one that is missing is None."""

    def counts(self, knob: Knob, chosen: Mapping[str, Value]) -> bool:
        """Whether a knob is turned where these values have been chosen before."""
        when = knob.when
        if when is None:
            return True
        names = {each.name for each in self.knobs}
        if when.name in names:
            return when.name in chosen and when.holds(chosen[when.name])
        return when.holds(self.fixed.get(when.name))

    def settings(self, value_of: Callable[[Knob], Value]) -> Settings:
        """The values of the knobs that count, asked for one after the other."""
        chosen: Settings = {}
        for knob in self.knobs:
            if self.counts(knob, chosen):
                chosen[knob.name] = value_of(knob)
        return chosen

    def grid(self) -> list[Settings]:
        """All settings of a grid; a knob that does not count multiplies nothing.

        Raises:
            InputError: a range that a grid cannot enumerate, or more settings than anybody could try.
        """
        values = {knob.name: knob.grid() for knob in self.knobs}
        found = list(islice(self._combined(0, {}, values), _MOST_GRID + 1))
        if len(found) > _MOST_GRID:
            raise InputError(f"the grid has more than {_MOST_GRID:,} settings; vary less, or take another --sampler")
        return found

    def _combined(self, index: int, chosen: Settings, values: Mapping[str, tuple[Value, ...]]) -> Iterator[Settings]:
        if index == len(self.knobs):
            yield chosen
            return
        knob = self.knobs[index]
        if not self.counts(knob, chosen):
            yield from self._combined(index + 1, chosen, values)
            return
        for value in values[knob.name]:
            yield from self._combined(index + 1, {**chosen, knob.name: value}, values)

    def named(self, name: str) -> Knob:
        """The knob of a name that the space has."""
        return next(knob for knob in self.knobs if knob.name == name)


def make_space(knobs: Sequence[Knob], fixed: Mapping[str, Value]) -> Space:
    """A space of knobs in an order that their conditions allow; of several of one name the last one stands.

    A knob whose condition no value of the other setting can fulfil is left out.

    Raises:
        InputError: nothing is varied, or conditions go round in a circle.
    """
    left = {knob.name: knob for knob in knobs}
    names = tuple(left)
    if not left:
        raise InputError("nothing is varied; say what with --vary, such as --vary learning_rate:low=1e-4,high=1e-2")
    ordered: list[Knob] = []
    while left:
        ready = [knob for knob in left.values() if knob.when is None or knob.when.name not in left]
        if not ready:
            circle = " and ".join(left)
            raise InputError(f"{circle}: each counts only under a condition on the other; leave one out")
        ordered += ready
        left = {name: knob for name, knob in left.items() if knob not in ready}
    possible: dict[str, Knob] = {}
    for knob in ordered:
        if _may_count(knob, possible, set(names), fixed):
            possible[knob.name] = knob
    return Space(knobs=tuple(possible.values()), fixed=dict(fixed))


def _may_count(knob: Knob, before: Mapping[str, Knob], names: set[str], fixed: Mapping[str, Value]) -> bool:
    """Whether the condition of a knob can be fulfilled, given the knobs before it that can count."""
    when = knob.when
    if when is None:
        return True
    if when.name not in names:
        return when.holds(fixed.get(when.name))
    other = before.get(when.name)
    return other is not None and (isinstance(other, Range) or any(map(when.holds, other.choices)))
