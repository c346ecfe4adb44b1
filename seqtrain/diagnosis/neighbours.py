"""Whether the output for a sequence depends on what it is computed beside, as it does where padding is not masked."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.diagnosis.copies import alone, borrowed, device_of, unmixed
from seqtrain.diagnosis.remarks import Remark, fine, shown, warning

CHECK = "neighbours"
_TOLERANCE = 1e-3
"""Of the largest output; sums in another order differ by 1e-6 in 32 bits."""


@torch.no_grad()
def neighbours(network: nn.Module, batch: Batch, *, most: int = 8) -> Remark:
    """Compare the outputs of sequences in one batch with those of each by itself, in evaluation mode.

    Args:
        batch: of different lengths, if the data have any.
        most: sequences that are computed by themselves.
    """
    plain = unmixed(batch).to(device_of(network))
    number = min(most, len(plain))
    with borrowed(network):
        together = network(plain).float()
        apart = [network(alone(plain, place)).float() for place in range(number)]
    scale = float(together.abs().max())
    if not number or not scale > 0:
        return fine(CHECK, "all outputs are 0, so that nothing can be compared")
    by_position = len(together) == len(plain.inputs) and len(together) != len(plain)
    worst = max(
        float((_part(together, plain, place, by_position) - outputs).abs().max()) for place, outputs in enumerate(apart)
    )
    said = (
        f"alone and in a batch of {len(plain)} the outputs of a sequence differ by {shown(worst / scale)} of the "
        "largest"
    )
    # Also what is nan in one of the two only.
    if not worst / scale <= _TOLERANCE:
        return warning(
            CHECK,
            f"{said}: its neighbours, or the padding they bring, change what is said of it",
            "mask the padding in attention, pooling, convolutions and norms",
            worst / scale,
        )
    return fine(CHECK, said, worst / scale)


def _part(together: Tensor, batch: Batch, place: int, by_position: bool) -> Tensor:
    if by_position:
        return together[int(batch.boundaries[place]) : int(batch.boundaries[place + 1])]
    return together[place : place + 1]
