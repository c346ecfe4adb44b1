"""Objectives: what a model is asked to do with a batch."""

from seqtrain.objectives.masked_lm import MaskedLanguageModel
from seqtrain.objectives.objective import Objective, Score
from seqtrain.objectives.supervised import Supervised

__all__ = ["MaskedLanguageModel", "Objective", "Score", "Supervised"]
