"""Low-rank adapters in a training: from words to layers, and what is kept of them at the end."""

from __future__ import annotations

from seqtrain.config import RunConfig
from seqtrain.errors import InputError
from seqtrain.models.adapter_folder import Adapter, Base
from seqtrain.models.adapters import Lora, merge
from seqtrain.models.network import Network
from seqtrain.recipes.networks import Origin
from seqtrain.words import read_words


def lora_of(config: RunConfig) -> Lora | None:
    """The adapters that a configuration asks for, if any.

    Raises:
        InputError: words that do not fit; nothing to start from.
    """
    if config.lora is None:
        return None
    if config.init_from is None:
        raise InputError(f"--lora {config.lora}: adapts trained weights; name them with --from, or leave it out")
    try:
        lora: Lora = read_words(f"lora:{config.lora.removeprefix('lora:')}", Lora, "kind of adapter")[0]
    except InputError as error:
        raise InputError(f"--lora {config.lora}: {error}") from None
    return lora


def finished_adapter(network: Network, config: RunConfig, origin: Origin | None) -> Adapter | None:
    """Merge the adapters of a trained network into its weights, if it has any; returns them where they are to be kept.

    What is scored and saved afterwards is then, to the bit, what a later process computes.
    """
    lora = lora_of(config)
    if lora is None or origin is None:
        return None
    tensors = merge(network, lora)
    if lora.saved == "merged":
        return None
    base = Base(place=origin.base, commit=origin.commit, digest=origin.digest)
    return Adapter(lora=lora, tensors=tensors, base=base)
