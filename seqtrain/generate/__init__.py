"""Generative models of protein families: from a few members to synthetic ones, for classes with little to train on.

``FamilyVAE.fit(sequences).vary(sequences)`` is all that a pipeline needs; ``seqtrain synthesize`` does it for the rare
classes of a table.
"""

from seqtrain.generate.evidence import Evidence
from seqtrain.generate.family import Family
from seqtrain.generate.family_vae import FamilyVAE
from seqtrain.generate.fitting import FitConfig

__all__ = ["Evidence", "Family", "FamilyVAE", "FitConfig"]
