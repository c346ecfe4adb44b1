"""Where the weights of new layers start, unless somebody chooses a rule by its name."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def start_as_esm(module: nn.Module) -> None:
    """The weights that a new ESM model starts from: normal with deviation 0.02, biases 0, norms 1."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def keep_variance(layer: nn.Linear | nn.Conv1d, scale: float = 1.0) -> None:
    """Outputs as large as the inputs, times scale: normal with variance 1 / fan-in (LeCun et al. 1998), biases 0.

    A fixed deviation of 0.02 suits layers of 2,000 inputs; those of a small network would start so quiet that hardly a
    gradient passes them.
    """
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=scale * fan_in**-0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def start_answer(dense: nn.Linear, output: nn.Linear) -> None:
    """The two last layers of a head: the first keeps the variance, the last gives numbers near 0, a guess.

    So the first loss of K classes is near ln K, and standardised numbers start at their mean; the quarter is ours.
    """
    keep_variance(dense)
    keep_variance(output, scale=0.25)


def start_residual(embedding: nn.Embedding, last_layers: Sequence[nn.Linear | nn.Conv1d]) -> None:
    """Let a residual network start near its embeddings: all branches together are no larger than they.

    Embeddings have the variance 1 / D, so that a language model head tied to them gives logits of variance 1. The last
    layer of each of L branches is scaled by (D * L)^(-1/2): were they larger, as torch draws them, the sum of branches
    would drown which letter stands where, and a task of many classes sits still for thousands of steps. Branches that
    start small are the idea of Fixup (Zhang et al. 2019) and of GPT-2 (Radford et al. 2019); the factor is ours.
    """
    width = embedding.embedding_dim
    nn.init.normal_(embedding.weight, std=width**-0.5)
    for layer in last_layers:
        keep_variance(layer, scale=(width * len(last_layers)) ** -0.5)
