"""Augmenters: letters to letters. Needs neither torch nor transformers, so that other pipelines can import it."""

from seqtrain.augment.augmenter import Augmented, Augmenter
from seqtrain.augment.crop import RandomCrop

__all__ = ["Augmented", "Augmenter", "RandomCrop"]
