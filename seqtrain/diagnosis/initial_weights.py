"""What a network starts with: weights that are frozen, all alike or not finite before the first step."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from seqtrain.diagnosis.remarks import Remark, fine, note, some, warning

FROZEN, ALIKE = "frozen parameters", "initial weights"


def frozen_parameters(network: nn.Module, *, asked: bool = False) -> Remark:
    """Whether parameters are left out of the training that nobody asked to leave out.

    Args:
        asked: some are to be frozen, or adapters are trained in the place of them.
    """
    names = [name for name, each in network.named_parameters() if not each.requires_grad]
    frozen = sum(each.numel() for each in network.parameters() if not each.requires_grad)
    total = sum(each.numel() for each in network.parameters())
    said = f"{frozen:,} of {total:,} parameters are not trained"
    if not names:
        return fine(FROZEN, "every parameter is trained", 0.0)
    if asked and frozen < total:
        return fine(FROZEN, f"{said}, as asked", frozen / total)
    in_head = ": the head among them, which alone turns hidden states into answers" if _in_head(names) else ""
    return warning(
        FROZEN,
        f"{said} although nothing was asked to be frozen ({some(names)}){in_head}",
        "let them require gradients (parameter.requires_grad_(True)), or say --freeze",
        frozen / total,
    )


def initial_weights(network: nn.Module, unmoved: Collection[str] = ()) -> Remark:
    """Whether matrices start all 0, or with units that are all alike, and stay so.

    Some matrices start at 0 on purpose, such as the last one of a residual branch; they are told from faults by
    whether anything moves once training begins.

    Args:
        unmoved: names of matrices that got no gradient in some updates, see
            :func:`seqtrain.diagnosis.overfit_one_batch`.
    """
    matrices = {name: each for name, each in network.named_parameters() if each.ndim > 1 and len(each) > 1}
    alike = [name for name, each in matrices.items() if _rows_are_alike(each)]
    zero = [name for name in alike if not bool(matrices[name].any())]
    same = [name for name in alike if name not in zero]
    stuck = [name for name in unmoved if name in matrices]
    if zero and len(stuck) > len(matrices) / 2:
        return warning(
            ALIKE,
            f"{len(zero)} of {len(matrices)} weight matrices start at 0 ({some(zero)}), and {len(stuck)} never get a "
            "gradient: units that start alike stay alike",
            "draw the weights, such as with --initialise he",
            len(zero) / len(matrices),
        )
    if same:
        return warning(
            ALIKE,
            f"in {len(same)} of {len(matrices)} weight matrices all units start alike ({some(same)}), and units that "
            "start alike stay alike",
            "draw the weights, such as with --initialise he",
            len(same) / len(matrices),
        )
    if stuck:
        return note(
            ALIKE,
            f"{len(stuck)} of {len(matrices)} trainable weight matrices got no gradient from one batch ({some(stuck)})",
            "look whether they are used, and whether what follows them lets a gradient through",
            len(stuck) / len(matrices),
        )
    return fine(ALIKE, f"{len(matrices)} weight matrices, {len(zero)} of them 0 on purpose", float(len(zero)))


@torch.no_grad()
def _rows_are_alike(matrix: Tensor) -> bool:
    return bool((matrix == matrix[:1]).all())


def _in_head(names: Collection[str]) -> bool:
    return any(name.startswith("head.") for name in names)
