"""Every optimiser can be chosen and set in words, and says in one line what is wrong with a value."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, get_args

import pytest

from seqtrain import optimizers
from seqtrain.errors import InputError
from seqtrain.optimizers import SGD, AdamW, HypergradientSGD, Muon, Optimizer, PowerSign, Rmsprop
from seqtrain.words import names_of, read_words
from tests.optimizers.members import MEMBERS

GIVEN = {"learning_rate": 0.5, "weight_decay": 0.25, "head_learning_rate": None, "layer_decay": 0.9, "num_steps": 100}


def read(text: str) -> Any:
    return read_words(text, Optimizer, "optimizer", given=GIVEN)[0]


def test_names_are_those_that_people_write() -> None:
    assert list(names_of(Optimizer)) == [
        "adamw", "adam", "amsgrad", "nadam", "adamax", "sgd", "adagrad", "rmsprop", "muon", "lars", "lamb",
        "power-sign", "add-sign", "hypergradient-sgd", "hypergradient-adam",
    ]  # fmt: skip
    assert optimizers.AdamW is optimizers.Adamw


def test_members_of_the_tests_are_all_members() -> None:
    assert {type(member) for member in MEMBERS.values()} == set(get_args(Optimizer))
    for name, member in MEMBERS.items():
        assert name.startswith(next(n for n, kind in names_of(Optimizer).items() if kind is type(member)))


@pytest.mark.parametrize("name", names_of(Optimizer))
def test_each_has_the_shared_fields_and_defaults_for_its_own(name: str) -> None:
    made = read(name)
    assert {key: getattr(made, key) for key in GIVEN if key != "num_steps"} == {
        key: value for key, value in GIVEN.items() if key != "num_steps"
    }
    for field in fields(made):
        assert field.name == "learning_rate" or field.default is not MISSING


def test_fields_in_words() -> None:
    sgd = read("sgd:momentum=0.8,nesterov=true,learning_rate=0.1")
    assert sgd == SGD(learning_rate=0.1, weight_decay=0.25, layer_decay=0.9, momentum=0.8, nesterov=True)
    assert read("adamw:betas=0.8/0.9").betas == (0.8, 0.9)
    assert read("power-sign:decay=cosine").num_steps == 100
    assert read("muon:adjustment=original").adjustment == "original"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("adamw2", "did you mean 'adamw'?"),
        ("sgd:learning_rate=-1", "sgd: learning_rate is -1.0; give a number of at least 0"),
        ("sgd:learning_rate=nan", "sgd: learning_rate is nan; give a number of at least 0"),
        ("sgd:head_learning_rate=inf", "sgd: head_learning_rate is inf; give a number of at least 0"),
        ("adam:weight_decay=-0.1", "adam: weight_decay is -0.1; give a number of at least 0"),
        ("adam:layer_decay=1.5", "adam: layer_decay is 1.5; give a number above 0 and at most 1"),
        ("adam:layer_decay=0", "adam: layer_decay is 0.0; give a number above 0 and at most 1"),
        ("sgd:momentum=1", "sgd: momentum is 1.0; give a number from 0 up to, but not including, 1"),
        ("sgd:momentum=0,nesterov=true", "sgd: nesterov needs momentum above 0; set momentum=0.9"),
        ("rmsprop:nesterov=true", "rmsprop: nesterov needs momentum above 0"),
        ("hypergradient-sgd:nesterov=true", "hypergradient-sgd: nesterov needs momentum above 0"),
        ("hypergradient-adam:learning_rate=0", "hypergradient-adam: learning_rate is 0; give the rate to start from"),
        ("adamw:betas=0.9/1", "adamw: the second of betas is 1.0; give a number from 0"),
        ("lamb:betas=0.9", "lamb: betas are (0.9,); give two numbers, such as 0.9/0.999"),
        ("lamb:eps=-1", "lamb: eps is -1.0; give a number of at least 0"),
        ("lars:trust=0", "lars: trust is 0; give a number above 0, such as 0.001"),
        ("muon:num_iterations=0", "muon: num_iterations is 0; give a number from 1 to 99, such as 5"),
        ("muon:adjustment=none", "muon: adjustment: 'none' is none of match_rms_adamw, original"),
        ("add-sign:decay=linear,num_steps=0", "add-sign: decay=linear needs num_steps, the steps of the training"),
        ("power-sign:base=1", "power-sign: base is 1.0; give a number above 1"),
        ("sgd:betas=0.9/0.9", "sgd: 'betas=0.9/0.9' is no field=value of it"),
        ("sgd:nesterov", "sgd: nesterov has no value; write sgd:nesterov=…"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(words: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read(words)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_values_are_checked_in_python_too() -> None:
    for wrong in (
        lambda: AdamW(learning_rate=-1),
        lambda: Rmsprop(learning_rate=1, smoothing=1),
        lambda: PowerSign(learning_rate=1, decay="restart"),
        lambda: HypergradientSGD(learning_rate=1, rate_of_rate=-1),
        lambda: Muon(learning_rate=1, momentum=1),
    ):
        with pytest.raises(ValueError, match=r"; give|needs"):
            wrong()
