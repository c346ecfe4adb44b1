"""Simulated families for tests."""

from __future__ import annotations

from seqtrain_data.families import FamilyWorld


def world(num_families: int = 2, *, length: int = 30, seed: int = 1) -> FamilyWorld:
    """Families whose sites are independent; several of them in one class are coupled at all pairs of sites."""
    return FamilyWorld(num_families=num_families, length=length, seed=seed, conservation=2.0)


def members(count: int, num_families: int = 2, *, length: int = 30, seed: int = 1) -> list[str]:
    """Sequences of one length, drawn from all families of a world."""
    return [each.sequence for each in world(num_families, length=length, seed=seed).sample(count, seed)]


def relatives(count: int, *, seed: int = 1, length: int = 40) -> list[str]:
    """Members of one conserved family, some without a piece and some with one too many: not aligned."""
    found = []
    family = FamilyWorld(num_families=1, length=length, seed=seed, conservation=6.0)
    for index, each in enumerate(family.sample(count, seed)):
        text = each.sequence
        if index % 4 == 1:
            text = text[:12] + text[15:]
        if index % 4 == 2:
            text = text[:20] + "GGSG" + text[20:]
        found.append(text)
    return found
