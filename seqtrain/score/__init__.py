"""Scores of variants by a masked language model that has seen no labels: what is replaced, and how likely it is."""

from seqtrain.score.mutations import Notation, Variant, singles

__all__ = ["Notation", "Variant", "singles"]
