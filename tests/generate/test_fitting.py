"""Fitting: the network learns what independent columns cannot, says when it does not, and is the same every time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from seqtrain.alphabet import PROTEIN
from seqtrain.augment.log_odds import target_frequencies
from seqtrain.errors import InputError
from seqtrain.generate import FamilyVAE, FitConfig
from seqtrain.generate.family import GAP, NUM_SYMBOLS, UNKNOWN, Family, symbols_of
from seqtrain.generate.folds import held_out_folds
from seqtrain.generate.site_profile import log_likelihoods, similarity, site_profile
from seqtrain_data.families import FamilyWorld
from tests.generate.families import members, relatives, world

QUICK = FitConfig(max_steps=60, folds=3)


def rows(sequences: list[str]) -> np.ndarray:
    return symbols_of(np.stack([np.frombuffer(text.encode(), np.uint8) for text in sequences]))


def family(sequences: list[str]) -> Family:
    """Sequences of one length, as they stand."""
    return Family(
        name="made",
        identifiers=tuple(f"m{index}" for index in range(len(sequences))),
        symbols=rows(sequences),
        insertions=((("",) * (len(sequences[0]) + 1)),) * len(sequences),
        reference=sequences[0],
        mean_identity=0.5,
    )


@pytest.fixture(scope="module")
def coupled() -> FamilyVAE:
    """A model of 40 members of two subfamilies."""
    return FamilyVAE.fit_family(family(members(40)), 0, config=FitConfig(folds=3, max_steps=120))


@pytest.fixture(scope="module")
def independent() -> FamilyVAE:
    """Independent columns of the same members."""
    return FamilyVAE.fit_family(family(members(40)), 0, by="profile")


def pair_frequencies(symbols: np.ndarray) -> np.ndarray:
    """(C, C, A, A) how often two letters stand in two columns."""
    hot = np.eye(GAP + 1)[np.minimum(symbols, GAP)][:, :, :GAP]
    return np.einsum("nca,ndb->cdab", hot, hot, optimize=True) / len(symbols)


def distance(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean total variation distance over pairs of different columns."""
    apart = ~np.eye(len(truth), dtype=bool)
    return float(0.5 * np.abs(found - truth).sum(axis=(2, 3))[apart].mean())


def test_draws_have_the_couplings_that_a_profile_cannot_have(coupled: FamilyVAE, independent: FamilyVAE) -> None:
    made: FamilyWorld = world()
    sites = np.einsum("f,fca->ca", made.frequencies, made.profiles)
    truth = np.einsum("f,fca,fdb->cdab", made.frequencies, made.profiles, made.profiles)
    true_couplings = truth - np.einsum("ca,db->cdab", sites, sites)
    apart = ~np.eye(made.length, dtype=bool)
    keys = np.arange(6000, dtype=np.int64) * 7919
    errors, distances, correlations = [], [], []
    for model in (coupled, independent):
        found = pair_frequencies(model.draw(keys))
        own = np.einsum("ccaa->ca", found)
        couplings = (found - np.einsum("ca,db->cdab", own, own))[apart]
        distances.append(distance(found, truth))
        errors.append(np.linalg.norm(couplings - true_couplings[apart]) / np.linalg.norm(true_couplings[apart]))
        correlations.append(np.corrcoef(couplings.ravel(), true_couplings[apart].ravel())[0, 1])
    assert coupled.by == "vae" and coupled.evidence.gain > 3 * coupled.evidence.standard_error
    assert distances[0] < 0.9 * distances[1], distances
    assert errors[0] < 0.8 < 0.95 < errors[1], errors
    assert correlations[0] > 0.8 and abs(correlations[1]) < 0.1, correlations


def test_held_out_members_decide_for_a_profile_where_columns_are_independent() -> None:
    config = FitConfig(folds=3, max_steps=120)
    model = FamilyVAE.fit_family(family(members(24, 1, seed=5)), 0, config=config)
    assert model.by == "profile" and not model.evidence.vae_is_better and "difference -" in model.evidence.words()
    # Drawn from are the columns that explained held-out members best.
    assert model.evidence.smoothing == "marginals" and model.network.config.width == 1
    np.testing.assert_allclose(np.exp(model.network.site.numpy()).sum(axis=1), 1, rtol=1e-5)
    forced = FamilyVAE.fit_family(family(members(12, 1, seed=5)), 0, config=QUICK, by="vae")
    assert forced.by == "vae"


def test_what_held_out_members_say_is_what_fresh_members_say(coupled: FamilyVAE, independent: FamilyVAE) -> None:
    made = world()
    fresh = rows([each.sequence for each in made.sample(150, 99)])
    by_vae, by_profile = coupled.bounds_of(fresh).mean(), independent.bounds_of(fresh).mean()
    # Members have a standard deviation of about 7 nats: means of 150 and of 40 held-out ones, of 0.6 and 1.2.
    assert by_vae == pytest.approx(coupled.evidence.vae, abs=3)
    assert by_profile == pytest.approx(independent.evidence.profile, abs=3)
    sites = made.log_profiles[:, np.arange(made.length), fresh].sum(axis=-1)
    best = np.logaddexp.reduce(np.log(made.frequencies)[:, None] + sites, axis=0).mean()
    assert by_profile + 4 < by_vae < best


def test_the_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    sequences, config = members(12), FitConfig(folds=2, max_steps=20)
    first, again, other = (FamilyVAE.fit_family(family(sequences), seed, config=config, by="vae") for seed in (0, 0, 1))
    assert first.evidence == again.evidence and first.sample(5) == again.sample(5)
    assert first.sample(5) != other.sample(5) and first.sample(5) != first.sample(5, seed=1)


def test_a_draw_does_not_hang_on_the_others(coupled: FamilyVAE) -> None:
    assert coupled.sample(9)[:4] == coupled.sample(4)
    parents = rows(members(6))
    keys = np.arange(6, dtype=np.int64)
    together = coupled.draw(keys, parents, rates=np.full(6, 0.5))
    for index in range(6):
        alone = coupled.draw(keys[index : index + 1], parents[index : index + 1], rates=np.array([0.5]))
        assert alone.tolist() == together[index : index + 1].tolist()


def test_variations_keep_what_they_are_told_to(coupled: FamilyVAE) -> None:
    parents = rows(members(40))
    keys = np.arange(40, dtype=np.int64)
    parents[0, 3] = UNKNOWN
    assert (coupled.draw(keys, parents, rates=np.full(40, 1e-9)) == parents)[1:].all()
    drawn = coupled.draw(keys, parents, rates=np.full(40, 0.3))
    assert drawn[0, 3] < UNKNOWN and drawn.max() <= GAP
    share = (drawn != parents).mean()
    assert 0.05 < share < 0.3
    # A relative decodes to its own subfamily: nearer to its parent than a draw from the prior is.
    whole, prior = coupled.draw(keys, parents, rates=np.ones(40)), coupled.draw(keys)
    assert (whole == parents).mean() > (prior == parents).mean() + 0.05


def test_a_low_temperature_takes_the_most_probable(coupled: FamilyVAE) -> None:
    keys, parents = np.arange(30, dtype=np.int64), rows(members(30))
    cold = coupled.draw(keys, parents, rates=np.ones(30), temperature=1e-3)
    warm = coupled.draw(keys, parents, rates=np.ones(30))
    logs = log_likelihoods(coupled.network.site.double().numpy(), cold)
    assert logs.mean() > log_likelihoods(coupled.network.site.double().numpy(), warm).mean() + 5
    with pytest.raises(ValueError, match="temperature is 0"):
        coupled.draw(keys, temperature=0)


def test_strings_in_strings_out() -> None:
    sequences = relatives(8)
    model = FamilyVAE.fit(sequences, seed=0, config=QUICK)
    varied = model.vary(sequences, seed=1, rate=0.2)
    for rate in (2.0, math.nan):
        with pytest.raises(ValueError, match=f"rate is {rate}; give a number from 0 to 1"):
            model.vary(sequences, rate=rate)
    for call in (model.vary, model.bounds):
        with pytest.raises(ValueError, match="sequence 1 is empty"):
            call([sequences[0], ""])
    assert len(varied) == 8 and varied != sequences and varied == model.vary(sequences, seed=1, rate=0.2)
    assert "GGSG" in varied[2], "an insertion stays as the parent has it"
    assert not set("".join([*varied, *model.sample(5)])) - set(PROTEIN.standard)


def test_a_model_is_saved_and_loaded(coupled: FamilyVAE, tmp_path: Path) -> None:
    for model in (coupled, FamilyVAE.fit(relatives(6), by="profile")):
        model.save(tmp_path / model.by)
        assert {path.name for path in (tmp_path / model.by).iterdir()} == {"family.json", "model.safetensors"}
        again = FamilyVAE.load(tmp_path / model.by)
        assert again.sample(6) == model.sample(6) and again.by == model.by
        assert repr(again.evidence) == repr(model.evidence)
    (tmp_path / "vae" / "family.json").write_text('{"form": "other"}')
    with pytest.raises(InputError, match="not the model of a family"):
        FamilyVAE.load(tmp_path / "vae")
    with pytest.raises(InputError, match="no such file"):
        FamilyVAE.load(tmp_path / "nowhere")


def test_too_few_members() -> None:
    with pytest.raises(InputError, match=r"4 different members .* at least 5; draw from independent columns"):
        FamilyVAE.fit([*relatives(4), relatives(4)[0]])
    with pytest.raises(InputError, match="independent columns need at least 2; augment it"):
        FamilyVAE.fit(relatives(1), by="profile")


def test_twins_are_held_out_together() -> None:
    sequences = members(10)
    symbols = rows([*sequences, *sequences, *sequences])
    folds = held_out_folds(symbols, 0, num_folds=5, twin_identity=0.9)
    assert (folds[:10] == folds[10:20]).all() and (folds[:10] == folds[20:]).all()
    assert np.bincount(folds).tolist() == [6] * 5
    assert (folds != held_out_folds(symbols, 1, num_folds=5, twin_identity=0.9)).any()
    # All twins of each other: nobody could be held out, so each stands alone.
    same = held_out_folds(rows([sequences[0]] * 4), 0, num_folds=5, twin_identity=0.9)
    assert sorted(same.tolist()) == [0, 1, 2, 3]


def test_columns_by_the_formula() -> None:
    symbols = np.array([[0, 4, GAP], [0, 5, GAP], [1, UNKNOWN, 7]], dtype=np.uint8)
    weights = np.array([0.25, 0.25, 0.5])
    found = np.exp(site_profile(symbols, weights, 3.0))
    targets = target_frequencies("BLOSUM62", PROTEIN)
    replaced = targets / targets.sum(axis=1, keepdims=True)
    share = 2.5 / 9
    gaps = np.array([share / 4, share / 3, (3 * 0.5 + share) / 4])
    np.testing.assert_allclose(found[:, GAP], gaps)
    for column, frequencies, count in ((0, {0: 0.5, 1: 0.5}, 3), (1, {4: 0.5, 5: 0.5}, 2), (2, {7: 1.0}, 1)):
        seen = np.zeros(GAP)
        seen[list(frequencies)] = list(frequencies.values())
        letters = (count * seen + 3 * seen @ replaced) / (count + 3)
        np.testing.assert_allclose(found[column, :GAP], letters * (1 - gaps[column]))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    expected = math.log(found[0, 0]) + math.log(found[2, 7])
    assert log_likelihoods(np.log(found), np.array([[0, UNKNOWN, 7]], np.uint8))[0] == pytest.approx(expected)


def test_similar_symbols_are_similar() -> None:
    alike = similarity()
    product = alike @ alike.T
    index = {letter: place for place, letter in enumerate(PROTEIN.standard)}
    assert product[index["I"], index["V"]] > 0.3 > 0 > product[index["I"], index["D"]]
    assert product[GAP].tolist() == [0.0] * GAP + [1.0] and alike.shape == (NUM_SYMBOLS, NUM_SYMBOLS)


@pytest.mark.parametrize("field", [{"folds": 1}, {"max_steps": 0}, {"patience": 0}])
def test_settings_that_cannot_be(field: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="give a number of at least"):
        FitConfig(**field)
