"""Searching for settings: what may be varied, how the next settings are chosen, and a study that processes share."""

from seqtrain.tune.knobs import Choices, Knob, Range, Settings, Value, When
from seqtrain.tune.pruners import Hyperband, Median, Pruner, read_pruner
from seqtrain.tune.reading import read_knob, read_space
from seqtrain.tune.samplers import Evolution, Grid, Random, Sampler, Tpe, read_sampler
from seqtrain.tune.space import Space, make_space

__all__ = [
    "Choices",
    "Evolution",
    "Grid",
    "Hyperband",
    "Knob",
    "Median",
    "Pruner",
    "Random",
    "Range",
    "Sampler",
    "Settings",
    "Space",
    "Tpe",
    "Value",
    "When",
    "make_space",
    "read_knob",
    "read_pruner",
    "read_sampler",
    "read_space",
]
