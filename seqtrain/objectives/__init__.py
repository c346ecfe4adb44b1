"""Objectives: what a model is asked to do with a batch."""

from seqtrain.objectives.masked_lm import MaskedLM
from seqtrain.objectives.objective import Changing, Objective, Score
from seqtrain.objectives.supervised import Supervised

SelfSupervised = MaskedLM
"""What can be asked of sequences without labels: each has ``num_views``, of every example in a step, and
``predicts_letters``, whether its loss is the cross-entropy of hidden letters."""

__all__ = ["Changing", "MaskedLM", "Objective", "Score", "SelfSupervised", "Supervised"]
