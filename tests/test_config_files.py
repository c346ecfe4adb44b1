"""A configuration survives TOML, and what does not fit is refused with the key, the value and the next move."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.config import FinetuneConfig, PretrainConfig, RunConfig, option, settled
from seqtrain.config_files import differences, facts, read_config, to_toml
from seqtrain.errors import InputError

FULL = FinetuneConfig(
    output='runs/"a b"\\é\n', model="cnn", size="8M", init_from="base", max_length=50, long="error", bad_records="drop",
    steps=1000, learning_rate=1e-05, weight_decay=0.0, warmup_fraction=0.25, dropout=0.1, seed=-3, precision="bf16",
    tensorboard=True, table="t.csv", target=("a", "b;c"), task="regression", head_learning_rate=1e-3,
)  # fmt: skip


def read(tmp_path: Path, text: str, kind: type[RunConfig] = PretrainConfig, **options: Any) -> Any:
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(kind, path, options)


def refusal(tmp_path: Path, text: str, kind: type[RunConfig] = PretrainConfig, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, kind, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "config", [FULL, FinetuneConfig(), PretrainConfig(), PretrainConfig(inputs=("a", "b"), residues=5)]
)
def test_round_trip(tmp_path: Path, config: RunConfig) -> None:
    again = read(tmp_path, to_toml(config), type(config))
    assert again == config
    for field in dataclasses.fields(config):
        assert type(getattr(again, field.name)) is type(getattr(config, field.name))


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    rate=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"))).map(tuple),
    seed=st.integers(-(2**63), 2**63 - 1),
)
def test_any_values_round_trip(tmp_path_factory: pytest.TempPathFactory, rate: float, texts: Any, seed: int) -> None:
    config = PretrainConfig(inputs=texts, learning_rate=rate, seed=seed)
    assert read(tmp_path_factory.mktemp("c"), to_toml(config)) == config


def test_options_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    text = 'steps = 10\nlong = "drop"\ninputs = "a.fasta"\n'
    config = read(tmp_path, text, steps=20, seed=None, inputs=(), tensorboard=False)
    assert (config.steps, config.long, config.inputs, config.seed) == (20, "drop", ("a.fasta",), 0)
    assert read_config(PretrainConfig, None, {}) == PretrainConfig()
    assert PretrainConfig().long == "crop" and FinetuneConfig().long == "window"


def test_whole_numbers_pass_where_numbers_are_wanted(tmp_path: Path) -> None:
    config = read(tmp_path, "learning_rate = 1\nsteps = 100.0\n")
    assert config.learning_rate == 1.0 and isinstance(config.learning_rate, float)
    assert config.steps == 100 and isinstance(config.steps, int)


def test_an_unknown_key_gets_its_nearest_match(tmp_path: Path) -> None:
    assert refusal(tmp_path, "learning_rat = 1") == (
        f"{tmp_path / 'c.toml'}: unknown key 'learning_rat'; did you mean 'learning_rate'?"
    )
    message = refusal(tmp_path, "zzzzzz = 1")
    assert "unknown key 'zzzzzz'; choose from activation_checkpointing, alphabet, augment, average, " in message
    assert "unknown key 'epochs'" in refusal(tmp_path, "epochs = 1"), "a key of the other command"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('steps = "many"', "steps = 'many': must be a whole number"),
        ("steps = 1.5", "steps = 1.5: must be a whole number"),
        ("steps = true", "steps = True: must be a whole number"),
        ("steps = inf", "steps = inf: must be a whole number"),
        ('learning_rate = "1e-3"', "learning_rate = '1e-3': must be a number"),
        ("learning_rate = false", "learning_rate = False: must be a number"),
        ("learning_rate = [1]", "learning_rate = [1]: must be a number"),
        ("output = 3", "output = 3: must be a text in quotes"),
        ("tensorboard = 1", "tensorboard = 1: must be true or false"),
        ('long = "cut"', "long = 'cut': choose from crop, window, drop, error"),
        ("long = []", "long = []: choose from crop, window, drop, error"),
        ("inputs = 3", "inputs = 3: must be a list of texts"),
        ("inputs = [3]", "inputs = [3]: must be a list of texts"),
        ("[steps]\nvalue = 3", "steps = {'value': 3}: must be a whole number"),
    ],
)
def test_wrong_types_are_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text) == f"{tmp_path / 'c.toml'}: {message}"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", 0, "--steps 0: must be a whole number greater than 0"),
        ("max_length", -5, "--max-length -5: must be"),
        ("learning_rate", math.nan, "--learning-rate nan: must be"),
        ("learning_rate", math.inf, "--learning-rate inf: must be a finite number"),
        ("weight_decay", -0.1, "--weight-decay -0.1: must be a finite number, at least 0"),
        ("weight_decay", math.nan, "--weight-decay nan: must be"),
        ("warmup_fraction", 1.0, "--warmup-fraction 1.0: must be at least 0 and less than 1"),
        ("dropout", math.nan, "--dropout nan: must be"),
        ("masked_fraction", 0.0, "--masked-fraction 0: nothing would be asked for"),
        ("masked_fraction", 1.5, "--masked-fraction 1.5: must be at least 0"),
        ("residues", 0, "--residues 0: must be"),
    ],
)
def test_ranges_are_kept(tmp_path: Path, name: str, value: float, message: str) -> None:
    options: dict[str, Any] = {name: value}
    assert refusal(tmp_path, "", **options).startswith(message)
    assert refusal(tmp_path, f"{name} = {value}").startswith(message)


@pytest.mark.parametrize(("kind", "name"), [(PretrainConfig, "residues"), (FinetuneConfig, "epochs")])
def test_one_budget_is_enough(tmp_path: Path, kind: type[RunConfig], name: str) -> None:
    message = refusal(tmp_path, f"{name} = 5", kind, steps=3)
    assert message == f"--steps and --{name}: both are budgets; give one of them"


def test_an_open_setting_is_settled_before_use() -> None:
    assert settled(0) == 0
    with pytest.raises(AssertionError):
        settled(None)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    assert "not TOML" in refusal(tmp_path, "steps = = 3")
    (tmp_path / "latin.toml").write_bytes(b'output = "\xe9"')
    cases = ((tmp_path / "latin.toml", "not TOML"), (tmp_path / "none", "No such file"), (tmp_path, "check the path"))
    for path, message in cases:
        with pytest.raises(InputError, match=message):
            read_config(PretrainConfig, path, {})


def test_facts_are_what_decides_the_training() -> None:
    here, there = (dataclasses.replace(FULL, output=name, table=name, init_from=name) for name in "ab")
    assert facts(here) == facts(there)
    assert facts(here) != facts(dataclasses.replace(here, seed=4))
    assert json.loads(json.dumps(facts(FULL))) == facts(FULL)


def test_differences_are_told_in_words() -> None:
    assert differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": "x"}) == ["b: 2 then, 3 now", "c: None then, 'x' now"]
    assert differences(facts(FULL), facts(FULL)) == []


def test_fields_are_spelt_as_options() -> None:
    assert option("head_learning_rate") == "--head-learning-rate" and option("init_from") == "--from"
