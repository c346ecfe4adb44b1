"""What is proposed is new, proper, within bounds, and as much as was asked for, or says why not."""

from __future__ import annotations

import pytest

from seqtrain.alphabet import PROTEIN
from seqtrain.generate import Family, FamilyVAE
from seqtrain.generate.drawing import Wanted, propose
from seqtrain.generate.star_alignment import family_of
from tests.generate.families import relatives


@pytest.fixture(scope="module")
def family() -> Family:
    return family_of(relatives(12), [f"m{index}" for index in range(12)], "made")


@pytest.fixture(scope="module")
def model(family: Family) -> FamilyVAE:
    """Independent columns: quick to fit, and drawn from by the same code."""
    return FamilyVAE.fit_family(family, 0, by="profile")


def test_proposals_are_new_proper_and_exactly_as_many(model: FamilyVAE, family: Family) -> None:
    known = {propose(model, family, Wanted(count=1), set()).found[0].sequence}
    found = propose(model, family, Wanted(count=200, prior_fraction=0.3), known)
    texts = [each.sequence for each in found.found]
    assert len(texts) == 200 and not found.missing and not found.shortfall()
    assert len(set(texts)) == 200 and not set(texts) & ({*family.texts} | known)
    assert not set("".join(texts)) - set(PROTEIN.standard)
    lengths = [len(text) for text in family.texts]
    assert min(lengths) <= min(map(len, texts)) and max(map(len, texts)) <= max(lengths)
    from_prior = sum(each.parent is None for each in found.found)
    assert 40 <= from_prior <= 80
    parents = [each.parent for each in propose(model, family, Wanted(count=24), set()).found]
    assert sorted(parents) == sorted([*range(12), *range(12)]), "each member in turn"


def test_the_same_seed_draws_the_same(model: FamilyVAE, family: Family) -> None:
    first = propose(model, family, Wanted(count=20, seed=3), set()).found
    assert first == propose(model, family, Wanted(count=20, seed=3), set()).found
    assert first != propose(model, family, Wanted(count=20, seed=4), set()).found
    assert first[:5] == propose(model, family, Wanted(count=5, seed=3), set()).found


@pytest.mark.parametrize("bounds", [(0.5, 0.7), (0.9, 0.99), (0.65, 0.8)])
def test_identity_to_the_parent_is_bounded(model: FamilyVAE, family: Family, bounds: tuple[float, float]) -> None:
    found = propose(model, family, Wanted(count=24, identity=bounds), set()).found
    assert len(found) == 24
    for each in found:
        assert each.parent is not None and each.parent_identity is not None
        assert bounds[0] <= each.parent_identity <= bounds[1] and each.identity >= each.parent_identity
        if len(each.sequence) == len(family.texts[each.parent]) == 44:
            # Both have the insertion, and no gaps: every letter stands where the parent's does.
            pairs = zip(each.sequence, family.texts[each.parent], strict=True)
            assert each.parent_identity == pytest.approx(sum(a == b for a, b in pairs) / 44)


def test_identity_is_that_of_equal_positions_without_gaps() -> None:
    aligned = family_of(["-" + text[1:] for text in relatives(24)[::4]], [str(i) for i in range(6)], "made")
    model = FamilyVAE.fit_family(aligned, 0, by="profile")
    for each in propose(model, aligned, Wanted(count=12, prior_fraction=0.5, identity=(0.3, 0.9)), set()).found:
        if len(each.sequence) != 39:
            continue
        same = [sum(a == b for a, b in zip(each.sequence, text, strict=True)) / 39 for text in aligned.texts]
        assert each.identity == pytest.approx(max(same))
        bounded = max(same) if each.parent is None else same[each.parent]
        assert each.parent_identity == (None if each.parent is None else pytest.approx(bounded))
        assert 0.3 <= bounded <= 0.9


def test_a_shortfall_is_said(model: FamilyVAE, family: Family) -> None:
    found = propose(model, family, Wanted(count=5, rate=0.001), set())
    assert found.missing == 5 - len(found.found) > 0
    assert f"{found.missing} sequence" in found.shortfall()
    assert "already known" in found.shortfall()
    bounded = propose(model, family, Wanted(count=3, rate=0.9, identity=(0.99, 1.0)), set())
    assert bounded.missing == 3 and bounded.refused["outside of the identity"] > 100


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"count": 0}, "count is 0"),
        ({"rate": 0.0}, "rate is 0.0"),
        ({"rate": 1.5}, "rate is 1.5"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"prior_fraction": 2.0}, "prior fraction is 2.0"),
        ({"identity": (0.9, 0.5)}, "identity is 0.9 to 0.5"),
    ],
)
def test_wishes_that_cannot_be(field: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Wanted(**{"count": 3, **field})  # type: ignore[arg-type]
