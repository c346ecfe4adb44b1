"""scikit-learn's face: encoders of sequences as transformers, and networks as a classifier and a regressor."""

from seqtrain.estimators.encoders import KmerEncoder, SequenceOneHot
from seqtrain.estimators.networks import SequenceClassifier, SequenceRegressor

__all__ = ["KmerEncoder", "SequenceClassifier", "SequenceOneHot", "SequenceRegressor"]
