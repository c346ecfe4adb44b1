"""The generator's closed forms against enumeration of every sequence of a tiny world, and against its own samples."""

# mypy: allow-untyped-calls
from __future__ import annotations

import csv
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from Bio import SeqIO
from Bio.SeqUtils.ProtParam import ProteinAnalysis
from numpy.typing import NDArray
from scipy import stats

from seqtrain_data.families import (
    BACKGROUND,
    RESIDUES,
    STATES,
    FamilyWorld,
    true_states,
    write_fasta,
    write_table,
)

TINY = FamilyWorld(seed=3, num_families=3, length=3, conservation=1.5, imbalance=4, value_noise=0.7)


@pytest.fixture(scope="module")
def everything() -> tuple[list[str], NDArray[np.float64]]:
    """All 8,000 sequences of the tiny world and (8000, F) their joint probability with each family."""
    sequences = ["".join(letters) for letters in itertools.product(RESIDUES, repeat=3)]
    columns = []
    for frequency, profile in zip(TINY.frequencies, TINY.profiles, strict=True):
        columns.append(frequency * np.einsum("a,b,c->abc", *profile).reshape(-1))
    return sequences, np.stack(columns, axis=1)


def test_profiles_are_distributions_and_follow_the_formula() -> None:
    world = FamilyWorld(seed=1)
    assert world.profiles.shape == (8, 64, 20)
    np.testing.assert_allclose(world.profiles.sum(axis=-1), 1)
    np.testing.assert_allclose(BACKGROUND.sum(), 1)
    free = FamilyWorld(conservation=0)
    np.testing.assert_allclose(free.profiles, np.broadcast_to(BACKGROUND, free.profiles.shape))
    # ln(q / p) is s · λ · BLOSUM62[ancestor] plus a constant, and s is 1 on average.
    tilts = np.log(world.profiles / BACKGROUND).reshape(-1, 20)
    rows = _blosum_rows()
    fits = [max((stats.linregress(row, tilt) for row in rows), key=lambda fit: fit.rvalue) for tilt in tilts[:200]]
    np.testing.assert_allclose([fit.rvalue for fit in fits], 1)
    assert np.mean([fit.slope for fit in fits]) / (np.log(2) / 2) == pytest.approx(1, abs=0.25)


def _blosum_rows() -> NDArray[np.float64]:
    from Bio.Align import substitution_matrices

    matrix = substitution_matrices.load("BLOSUM62")
    return np.array([[matrix[a, b] for b in RESIDUES] for a in RESIDUES])


def test_masked_losses_are_those_of_enumeration(everything: tuple[list[str], NDArray[np.float64]]) -> None:
    sequences, joint = everything
    whole = joint.sum(axis=1).reshape(20, 20, 20)
    losses = TINY.masked_losses(sequences)
    for position in range(3):
        conditional = whole / whole.sum(axis=position, keepdims=True)
        np.testing.assert_allclose(losses[:, position], -np.log(conditional).reshape(-1))


def test_the_masked_loss_lies_between_its_bounds(everything: tuple[list[str], NDArray[np.float64]]) -> None:
    sequences, joint = everything
    exact = float((joint.sum(axis=1)[:, None] * TINY.masked_losses(sequences)).sum() / 3)
    assert TINY.optimal_masked_loss() < exact < TINY.positional_entropy() < TINY.unigram_entropy()


def test_entropies_against_scipy() -> None:
    within = sum(f * stats.entropy(p, axis=-1).mean() for f, p in zip(TINY.frequencies, TINY.profiles, strict=True))
    assert TINY.optimal_masked_loss() == pytest.approx(within)
    mixture = np.average(TINY.profiles, axis=0, weights=TINY.frequencies)
    assert TINY.positional_entropy() == pytest.approx(stats.entropy(mixture, axis=-1).mean())
    assert TINY.unigram_entropy() == pytest.approx(stats.entropy(mixture.mean(axis=0)))


@pytest.mark.parametrize(
    ("world", "gap"), [(FamilyWorld(), 1e-9), (FamilyWorld(length=32), 1e-3), (FamilyWorld(conservation=10), 1e-9)]
)
def test_long_sequences_reach_the_closed_form(world: FamilyWorld, gap: float) -> None:
    members = world.sample(1000, seed=5)
    letters = np.array([[RESIDUES.index(letter) for letter in member.sequence] for member in members])
    families = np.array([member.family for member in members])
    known = -np.log(world.profiles[families[:, None], np.arange(world.length), letters])
    exact = world.masked_losses([member.sequence for member in members])
    assert abs((exact - known).mean()) < gap
    error = exact.mean(axis=1).std() / np.sqrt(len(members))
    assert exact.mean() == pytest.approx(world.optimal_masked_loss(), abs=4 * error)


def test_posterior_and_accuracy_are_those_of_enumeration(everything: tuple[list[str], NDArray[np.float64]]) -> None:
    sequences, joint = everything
    np.testing.assert_allclose(TINY.posterior(sequences), joint / joint.sum(axis=1, keepdims=True))
    accuracy = joint.max(axis=1).sum()
    assert 0.6 < accuracy < 0.95
    assert TINY.bayes_accuracy(4000, seed=2) == pytest.approx(accuracy, abs=0.02)


def test_bayes_accuracy_is_the_rate_of_hits() -> None:
    world = FamilyWorld(shared_fraction=0.9, conservation=0.5)
    members = world.sample(4000, seed=11)
    named = world.posterior([member.sequence for member in members]).argmax(axis=1)
    hits = np.mean(named == [member.family for member in members])
    assert world.bayes_accuracy(4000, seed=12) == pytest.approx(hits, abs=4 * 0.5 / np.sqrt(4000))


def test_letters_and_families_are_drawn_with_their_probabilities() -> None:
    members = TINY.sample(20000, seed=1)
    counts = Counter(member.family for member in members)
    expected = TINY.frequencies * len(members)
    assert stats.chisquare([counts[family] for family in range(3)], expected).pvalue > 1e-4
    last = Counter(member.sequence[2] for member in members if member.family == 0)
    expected = TINY.profiles[0, 2] * counts[0]
    assert stats.chisquare([last[letter] for letter in RESIDUES], expected).pvalue > 1e-4


def test_imbalance_is_geometric() -> None:
    frequencies = FamilyWorld(num_families=5, imbalance=16).frequencies
    np.testing.assert_allclose(frequencies[:-1] / frequencies[1:], 2)
    np.testing.assert_allclose(FamilyWorld(num_families=5).frequencies, 0.2)
    np.testing.assert_allclose(FamilyWorld(num_families=1, imbalance=16).frequencies, 1)


def test_shared_positions_say_nothing_of_the_family() -> None:
    world = FamilyWorld(shared_fraction=0.25)
    same = (world.profiles == world.profiles[0]).all(axis=(0, 2))
    assert same.sum() == 16
    blind = FamilyWorld(shared_fraction=1, imbalance=3)
    assert blind.bayes_accuracy(50) == pytest.approx(blind.frequencies[0])


def test_the_effect_is_standard_over_the_world(everything: tuple[list[str], NDArray[np.float64]]) -> None:
    sequences, joint = everything
    values, weights = TINY.true_values(sequences), joint.sum(axis=1)
    assert weights @ values == pytest.approx(0, abs=1e-12)
    assert weights @ values**2 == pytest.approx(1)


def test_the_best_regression_reaches_the_closed_form() -> None:
    world = FamilyWorld(value_noise=0.7)
    members = world.sample(20000, seed=4)
    measured = np.array([member.value for member in members])
    truth = world.true_values([member.sequence for member in members])
    r2 = 1 - ((measured - truth) ** 2).sum() / ((measured - measured.mean()) ** 2).sum()
    assert r2 == pytest.approx(world.best_r2(), abs=0.01)
    assert world.best_spearman(20000, seed=9) == pytest.approx(stats.spearmanr(truth, measured)[0], abs=0.01)
    noise = (measured - truth) / world.value_noise
    assert stats.kstest(noise, "norm").pvalue > 1e-4
    assert world.best_spearman(20000, seed=4) == pytest.approx(stats.spearmanr(truth, measured)[0])


def test_states_follow_hydropathy_and_their_noise() -> None:
    sequence = "MKILRAWDEVVGGPSTC"
    # Biopython's own sliding mean of Kyte-Doolittle hydropathy covers the inner residues.
    means = ProteinAnalysis(sequence).protein_scale(_kyte_doolittle(), window=3)
    inner = ["B" if mean > 1 else "E" if mean < -1 else "I" for mean in means]
    assert true_states(sequence)[1:-1] == "".join(inner)
    assert true_states("IIK") == "BBI"  # two residues at the ends: 4.5, then 1.7, then 0.3
    members = FamilyWorld(state_noise=0.3).sample(1000, seed=0)
    changed = Counter(
        (STATES.index(state) - STATES.index(truth)) % 3
        for member in members
        for state, truth in zip(member.states, true_states(member.sequence), strict=True)
    )
    expected = 64_000 * np.array([0.7, 0.15, 0.15])
    assert stats.chisquare([changed[shift] for shift in range(3)], expected).pvalue > 1e-4
    assert FamilyWorld(state_noise=0.3).best_state_accuracy() == pytest.approx(0.7)


def _kyte_doolittle() -> dict[str, float]:
    from Bio.SeqUtils.ProtParamData import kd

    return dict(kd)


def test_samples_are_determined_by_their_seed() -> None:
    world = FamilyWorld(seed=2, num_families=3, length=10)
    assert world.sample(30, seed=1) == FamilyWorld(seed=2, num_families=3, length=10).sample(30, seed=1)
    assert world.sample(30, seed=1)[:7] == world.sample(7, seed=1)
    ours = {member.sequence for member in world.sample(30, seed=1)}
    others = world.sample(30, seed=2) + FamilyWorld(seed=3, num_families=3, length=10).sample(30, seed=1)
    assert not ours & {member.sequence for member in others}
    assert world.sample(0, seed=1) == []


def test_a_known_sample_stays_as_it_is() -> None:
    (member,) = FamilyWorld(length=16).sample(1, seed=0)
    assert (member.sequence, member.family, member.states) == ("IEYDQCILESKVRVTT", 3, "BIEBEEBBIEIEBIII")


def test_files_hold_the_sample(tmp_path: Path) -> None:
    members = FamilyWorld(length=130).sample(5, seed=8)
    write_fasta(tmp_path / "members.fasta", members)
    records = list(SeqIO.parse(tmp_path / "members.fasta", "fasta"))
    assert [(record.id, str(record.seq)) for record in records] == [(m.identifier, m.sequence) for m in members]
    assert max(len(line) for line in (tmp_path / "members.fasta").read_text().splitlines()) == 60
    write_table(tmp_path / "members.csv", members)
    with (tmp_path / "members.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, strict=True))
    assert [(row["identifier"], row["sequence"], row["states"]) for row in rows] == [
        (member.identifier, member.sequence, member.states) for member in members
    ]
    assert [row["family"] for row in rows] == [f"family_{member.family}" for member in members]
    assert [float(row["value"]) for row in rows] == pytest.approx([member.value for member in members], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_families", 0), ("length", 2), ("imbalance", 0.5), ("state_noise", 0.7), ("conservation", float("nan"))],
)
def test_a_number_outside_its_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        FamilyWorld(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("sequence", ["AC", "ACB", "acd"])
def test_a_sequence_of_another_world_is_refused(sequence: str) -> None:
    with pytest.raises(ValueError, match="sequence 1 is not 3 of the letters"):
        TINY.posterior(["ACD", sequence])
