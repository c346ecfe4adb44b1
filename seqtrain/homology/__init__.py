"""Which sequences are similar to which: pairs, nearest neighbours and clusters, without an external program.

Pairs are proposed by letters that they share in the same order (``seeds``), or all of them where there are few, and
judged by their best local alignment (``alignment``): identity is identical columns over the letters of the shorter
sequence, of alignments that cover enough of it.
"""

from seqtrain.homology.clusters import homology_clusters
from seqtrain.homology.search import nearest, similar_pairs
from seqtrain.homology.similarity import Nearest, Pairs, Similarity

__all__ = ["Nearest", "Pairs", "Similarity", "homology_clusters", "nearest", "similar_pairs"]
