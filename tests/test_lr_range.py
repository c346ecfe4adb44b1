"""The range test on a small network that learns, and the reading of curves whose answers are known."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqtrain.alphabet import PROTEIN
from seqtrain.errors import RunError
from seqtrain.fitting import Training
from seqtrain.lr_range import RangeResult, RangeTest, range_picture
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import build
from seqtrain.objectives import MaskedLM, Score
from seqtrain.optimizers import AdamW
from seqtrain.schedules import Constant
from seqtrain.training import LoopConfig
from seqtrain_data.families import FamilyWorld
from tests.corpora import examples_of


def _training(network: nn.Module | None = None, **fields: Any) -> Training:
    members = FamilyWorld(num_families=2, length=16).sample(60, seed=1)
    torch.manual_seed(3)
    body = CNNConfig(width=16, depth=1, dropout=0.1)
    network = network or build(body, LanguageModelHeadConfig(vocabulary_size=33))
    training = Training(
        network=network,
        objective=MaskedLM(PROTEIN),
        examples=examples_of([member.sequence for member in members]),
        optimizer=AdamW(learning_rate=2e-3),
        schedule=Constant(num_steps=1000),
        loop=LoopConfig(device=torch.device("cpu")),
        num_steps=1000,
        tokens_per_step=360,
        tokens_per_microbatch=200,
        num_evaluations=1,
        evaluate=dict,
    )
    return replace(training, **fields)


TEST = RangeTest(lowest=1e-5, highest=10.0, num_steps=60)


@cache
def _result() -> RangeResult:
    return TEST(_training())


def test_a_network_that_learns() -> None:
    result = _result()
    assert result.fell and len(result.rates) < 60
    # A guess, and half a nat for logits that start with variance 1 from embeddings of variance 1 / width.
    assert result.losses[0] == pytest.approx(math.log(33) + 0.5, rel=0.1)
    assert result.smoothed[-1] > 1.2 * result.smoothed[0]
    low, high = result.bounds
    assert 1e-5 < low < high <= result.lowest < result.rates[-1]
    assert low < result.proposed < result.lowest and result.tenth < result.proposed
    assert result.proposed == result.lowest / 3
    assert result.rates == pytest.approx(1e-5 * 10 ** (6 * np.arange(len(result.rates)) / 59))


def test_proposed_rate_trains_and_the_last_one_does_not() -> None:
    """Sixty steps at a constant rate, from the same weights."""

    def trained(rate: float) -> float:
        flat = RangeTest(lowest=rate * (1 - 1e-9), highest=rate, num_steps=60, divergence=1e9)
        return float(flat(_training()).losses[-10:].mean())

    result = _result()
    proposed = trained(result.proposed)
    assert proposed < trained(result.bounds[0] / 3) and proposed < trained(float(result.rates[-1])) / 2


def test_everything_is_left_as_it_was() -> None:
    training = _training()
    training.network.eval()
    before = {name: tensor.clone() for name, tensor in training.network.state_dict().items()}
    random = torch.get_rng_state()
    first = TEST(training)
    assert torch.equal(torch.get_rng_state(), random)
    assert not training.network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in training.network.state_dict().items())
    assert all(parameter.grad is None for parameter in training.network.parameters())
    again = TEST(training)
    assert np.array_equal(first.losses, again.losses) and np.array_equal(first.rates, again.rates)


def test_first_step_is_that_of_the_training_and_groups_keep_their_ratio() -> None:
    rates: list[list[float]] = []

    @dataclass(frozen=True)
    class Watched:
        learning_rate: float = 0.5

        def build(self, model: nn.Module) -> torch.optim.Optimizer:
            *body, last = model.parameters()
            groups = [{"params": body, "lr": 0.5, "peak": 0.5}, {"params": [last], "lr": 5.0, "peak": 5.0}]
            optimizer = torch.optim.SGD(groups, lr=0.5)
            optimizer.register_step_pre_hook(lambda o, *_: rates.append([group["lr"] for group in o.param_groups]))
            return optimizer

    RangeTest(lowest=1e-4, highest=1e-2, num_steps=21)(_training(optimizer=Watched()))
    assert rates == [pytest.approx([10 ** (-4 + step / 10), 10 ** (-3 + step / 10)]) for step in range(21)]


def test_a_loss_that_is_not_finite_ends_the_test() -> None:
    class Exploding(nn.Module):
        def __init__(self, inner: nn.Module, good: int) -> None:
            super().__init__()
            self.inner, self.good, self.calls = inner, good, 0

        def forward(self, batch: Any) -> Tensor:
            self.calls += 1
            outputs: Tensor = self.inner(batch)
            return outputs if self.calls <= self.good else outputs * math.nan

    training = _training(tokens_per_microbatch=10**6)
    late = TEST(replace(training, network=Exploding(training.network, 12)))
    assert len(late.losses) == 12 and np.isfinite(late.losses).all()
    skipping = replace(training, loop=replace(training.loop, on_nan="skip", warn=lambda text: None))
    again = TEST(replace(skipping, network=Exploding(training.network, 12)))
    assert again.losses.tolist() == late.losses.tolist(), "also where the training would skip such steps"
    with pytest.raises(RunError, match="step 1: loss nan"):
        TEST(replace(training, network=Exploding(training.network, 0)))


class Cramped(nn.Module):
    """A network on a machine on which more than 100 tokens at once do not fit from some call on."""

    def __init__(self, inner: nn.Module, roomy: int) -> None:
        super().__init__()
        self.inner, self.roomy, self.calls = inner, roomy, 0

    def forward(self, batch: Any) -> Tensor:
        self.calls += 1
        if self.calls > self.roomy and len(batch.inputs) > 100:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        outputs: Tensor = self.inner(batch)
        return outputs


@pytest.mark.parametrize("roomy", [0, 11])
def test_where_memory_runs_out_the_step_is_computed_in_smaller_pieces(roomy: int) -> None:
    torch.manual_seed(3)
    network = build(CNNConfig(width=16, depth=1, dropout=0.0), LanguageModelHeadConfig(vocabulary_size=33))
    said: list[str] = []
    training = _training(network, loop=LoopConfig(device=torch.device("cpu"), warn=said.append))
    test = RangeTest(lowest=1e-5, highest=1e-2, num_steps=20)
    cramped = test(replace(training, network=Cramped(network, roomy)))
    assert cramped.losses == pytest.approx(test(training).losses, rel=1e-4) and len(cramped.losses) == 20
    assert [line for line in said if "out of memory; computed again" in line] == said and len(said) == 1


def test_steps_without_anything_to_score_are_left_out() -> None:
    @dataclass(frozen=True)
    class Sometimes(MaskedLM):
        def score(self, outputs: Tensor, batch: Any) -> Score:
            found = super().score(outputs, batch)
            return found if int(batch.records[0]) % 3 else Score(0 * found.loss, 0 * found.count)

    training = _training(tokens_per_step=20, tokens_per_microbatch=20)
    result = RangeTest(lowest=1e-5, highest=1e-3, num_steps=30)(replace(training, objective=Sometimes(PROTEIN)))
    assert 10 < len(result.losses) < 30 and (result.losses > 1).all()
    factors = np.log(result.rates / 1e-5) / np.log(100) * 29
    assert factors == pytest.approx(factors.round(), abs=1e-6) and (np.diff(factors) > 0.5).all()

    class Never(MaskedLM):
        def score(self, outputs: Tensor, batch: Any) -> Score:
            return Score(outputs.sum() * 0, outputs.sum().detach() * 0)

    with pytest.raises(RunError, match="none of 30 steps had anything to score"):
        RangeTest(num_steps=30)(replace(training, objective=Never(PROTEIN)))


def _made(loss_of: Any, num_steps: int = 201, highest: float = 1.0) -> RangeResult:
    """A curve over six decades, as a function of the power of ten."""
    powers = np.linspace(-6, math.log10(highest), num_steps)
    return RangeResult(rates=10**powers, losses=np.array([loss_of(p) for p in powers]), num_steps=num_steps)


def test_reading_a_valley() -> None:
    # Flat at 3 up to 1e-4, a line down to 1 at 1e-2, and steeply up.
    result = _made(lambda p: 3 - max(0, min(p, -2) + 4) + 8 * max(0, p + 2))
    # The kernel of 6 steps, 0.18 decades, moves the corner at the bottom to the side that is less steep.
    assert math.log10(result.lowest) == pytest.approx(-2.2, abs=0.1)
    assert -3.7 < math.log10(result.steepest) < -2.5
    low, high = (math.log10(rate) for rate in result.bounds)
    assert low == pytest.approx(-3.8, abs=0.1) and high == pytest.approx(-2.4, abs=0.2)
    assert high < math.log10(result.lowest)


def test_smoothing_is_a_mean_without_lag() -> None:
    line = _made(lambda p: 10 - p)
    inner = slice(25, -25)
    assert line.smoothed[inner] == pytest.approx(line.losses[inner])
    spike = _made(lambda p: float(abs(p + 3) < 1e-9))
    assert spike.smoothed.argmax() == 100
    weights = np.exp(-0.5 * (np.arange(-100, 101) / 6.03) ** 2)
    assert spike.smoothed[80:121] == pytest.approx((weights / weights.sum())[80:121], rel=1e-3)


def test_noise_around_a_valley_moves_it_little() -> None:
    noise = iter(np.random.default_rng(0).normal(0, 0.1, 201))
    result = _made(lambda p: 2 + 0.5 * (p + 2.5) ** 2 + next(noise))
    assert math.log10(result.lowest) == pytest.approx(-2.5, abs=0.5)


@pytest.mark.parametrize(
    "loss_of", [lambda p: 2.0, lambda p: 8 + p, lambda p: 2 - 1e-4 * p], ids=["flat", "up", "hardly"]
)
def test_a_loss_that_never_falls_proposes_nothing(loss_of: Any) -> None:
    result = _made(loss_of)
    assert not result.fell
    for name in ("proposed", "lowest", "tenth", "steepest", "bounds"):
        with pytest.raises(RunError, match=r"^the loss did not fall from its .* between 1e-06 and 1; test more steps"):
            getattr(result, name)
    assert result.to_json()["proposed"] is None and result.to_json()["bounds"] == [None, None]
    ElementTree.fromstring(range_picture(result))


def test_plain_values() -> None:
    result = _result()
    values = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert values["proposed"] == result.proposed and values["bounds"] == list(result.bounds)
    assert values["losses"] == result.losses.tolist() and len(values["smoothed"]) == len(values["rates"])


def test_picture_shows_what_is_read_off() -> None:
    picture = range_picture(_result())
    root = ElementTree.fromstring(picture)
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for beginning in ("smoothed loss", "loss of each step", "proposed ", "bounds ", "lowest "):
        assert any(text.startswith(beginning) for text in texts)
    assert "log₁₀ of the learning rate" in texts
    chart = root.find("{http://www.w3.org/2000/svg}svg")
    assert chart is not None and chart.get("height") == "280"


def test_impossible_tests() -> None:
    for fields, message in [
        ({"lowest": 1.0, "highest": 0.1}, "rates go from 1 to 0.1; give two, the lower one first"),
        ({"lowest": 0.0}, "rates go from 0"),
        ({"num_steps": 3}, "num_steps is 3; give at least 10"),
        ({"divergence": 1.0}, "divergence is 1; give a number above 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            RangeTest(**fields)  # type: ignore[arg-type]
