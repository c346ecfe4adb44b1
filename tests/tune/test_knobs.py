"""Knobs: what words and TOML make of them, what they draw, and the spaces they form."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from seqtrain.config import FinetuneConfig
from seqtrain.errors import InputError
from seqtrain.tune import Choices, Knob, Range, When, make_space, read_knob, read_space
from seqtrain.tune.defaults import Situation, default_knobs
from seqtrain.tune.policies import policy_knobs, policy_words
from seqtrain.tune.settings import configured, has_field

SCRATCH = Situation(
    pretrained=False,
    models=("transformer",),
    epochs=20,
    tokens_per_step=2048,
    per_residue=False,
    alphabet="protein",
    moving=True,
    has_peft=True,
)


def test_words_give_ranges_and_choices_in_the_type_of_the_setting() -> None:
    rate = read_knob("learning_rate:low=1e-4,high=1,log=true,steps=5")
    assert rate == Range(name="learning_rate", low=1e-4, high=1, log=True, steps=5)
    epochs = read_knob("epochs:low=2,high=9")
    assert isinstance(epochs, Range) and epochs.whole
    dropout = read_knob("dropout:low=0,high=0")
    assert isinstance(dropout, Range) and not dropout.whole
    kernel = read_knob("model.kernel_size:low=3,high=9,step=2,when=model=cnn/u-net")
    assert kernel == Range(
        name="model.kernel_size", low=3, high=9, step=2, whole=True, when=When(name="model", values=("cnn", "u-net"))
    )
    assert read_knob("optimizer:choices=adamw/sgd:momentum=0.9,nesterov=true") == Choices(
        name="optimizer", choices=("adamw", "sgd:momentum=0.9,nesterov=true")
    )
    assert read_knob("optimizer:choices=lamb,when=model=cnn").when == When(name="model", values=("cnn",))
    assert read_knob("freeze:choices=none/body") == Choices(name="freeze", choices=(None, "body"))
    assert read_knob("tokens_per_step:choices=512/1024") == Choices(name="tokens_per_step", choices=(512, 1024))
    assert read_knob("learning_rate:choices=auto/1") == Choices(name="learning_rate", choices=("auto", 1.0))
    assert read_knob("compile:choices=true/false") == Choices(name="compile", choices=(True, False))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("lerning_rate:low=1,high=2", "did you mean 'learning_rate'"),
        ("qqq:low=1,high=2", "choose from .*weight_decay"),
        ("learning_rate", "between what"),
        ("learning_rate:low=1e-3", "has no high"),
        ("learning_rate:low=2,high=1", "low is above high; exchange them"),
        ("learning_rate:low=0,high=1,log=true", "0 has no logarithm"),
        ("learning_rate:low=a,high=1", "low=a: is no number"),
        ("learning_rate:low=1,high=inf", "must be finite"),
        ("learning_rate:low=1,low=2,high=3", "given twice"),
        ("learning_rate:low=,high=3", "low has no value"),
        ("learning_rate:lo=1,high=3", "did you mean 'low'"),
        ("learning_rate:low=1,high=2,log=yes", "neither true nor false"),
        ("epochs:low=1.5,high=3", "must be whole numbers"),
        ("epochs:choices=1.5/3", "a whole number"),
        ("model:choices=", "no choices"),
        ("model:choices=cnn/cnn", "cnn is given twice"),
        ("model:low=1,high=2", "is no number, so it has no range"),
        ("model:low=1,choices=a/b", "exclude each other"),
        ("sampling:choices=natural/even", "choose from natural, square-root, balanced, weights"),
        ("seed:low=1,high=9", "luckiest seed"),
        ("table:choices=a/b", "other records"),
        ("members:low=1,high=3", "finetune the best settings with --members"),
        ("dropout.rate:low=0,high=1", "not in words"),
        ("model.kernel_size:low=3,high=5,when=cnn", "write when=SETTING=VALUE"),
        ("model.kernel_size:low=3,high=5,step=0", "leave it out"),
        ("dropout:low=0,high=1,steps=0", "give at least 1"),
    ],
)
def test_bad_words_are_refused_by_name(words: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_knob(words)
    assert "\n" not in str(caught.value)


def test_a_file_says_what_words_say_and_lists_with_slashes_too(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(
        '[learning_rate]\nlow = 1e-4\nhigh = 1e-2\nlog = true\n["model.dilations"]\nchoices = ["1", "1/2/4"]\n'
        'when = "model=cnn"\n'
    )
    assert read_space(path) == [
        Range(name="learning_rate", low=1e-4, high=1e-2, log=True),
        Choices(name="model.dilations", choices=("1", "1/2/4"), when=When(name="model", values=("cnn",))),
    ]
    for text, said in {
        "learning_rate = 3": "is no table",
        "[model.width]\nlow = 1": r'write \["model.width"\]',
        "[dropout]\nchoices = 3": "give a list",
        "[droput]\nlow = 0\nhigh = 1": "space.toml: .*did you mean 'dropout'",
        "[dropout": "not TOML",
    }.items():
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            read_space(path)
    with pytest.raises(InputError, match="check the path of --space"):
        read_space(tmp_path / "none.toml")


def test_draws_and_mutations_stay_inside_and_are_even_by_logarithm() -> None:
    rng = np.random.default_rng(0)
    rate = Range(name="r", low=1e-4, high=1.0, log=True)
    drawn = np.array([float(rate.draw(rng) or 0) for _ in range(4000)])
    assert drawn.min() >= 1e-4 and drawn.max() <= 1
    np.testing.assert_allclose(np.mean(np.log10(drawn)), -2, atol=0.06)
    whole = Range(name="k", low=3, high=10, step=2, whole=True)
    assert {whole.draw(rng) for _ in range(200)} == {3, 5, 7, 9}
    for value in (3, 9):
        assert {whole.mutated(value, rng) for _ in range(200)} <= {3, 5, 7, 9} - {value}
    near = [float(rate.mutated(0.01, rng) or 0) for _ in range(2000)]
    np.testing.assert_allclose(np.std(np.log10(near)), 0.4, atol=0.03)  # a tenth of four decades
    choices = Choices(name="c", choices=("a", "b", None))
    assert {choices.mutated("a", rng) for _ in range(50)} == {"b", None}


def test_a_grid_takes_steps_whole_numbers_and_choices() -> None:
    assert Range(name="r", low=1e-3, high=1e-1, log=True, steps=3).grid() == pytest.approx((1e-3, 1e-2, 1e-1))
    assert Range(name="k", low=3, high=8, step=2, whole=True).grid() == (3, 5, 7)
    assert Range(name="r", low=0, high=1, steps=1).grid() == (0.5,)
    with pytest.raises(InputError, match=r"needs the number of values; write --vary r:low=0,high=1,steps=5"):
        Range(name="r", low=0, high=1).grid()


def test_a_grid_multiplies_only_knobs_that_count() -> None:
    space = make_space(
        [
            Choices(name="model.width", choices=(16, 32), when=When(name="model", values=("cnn",))),
            Choices(name="model", choices=("cnn", "transformer:depth=1")),
            Choices(name="dropout", choices=(0.0, 0.1, 0.2), when=When(name="freeze", values=("none",))),
        ],
        {"freeze": None},
    )
    grid = space.grid()
    assert [knob.name for knob in space.knobs] == ["model", "dropout", "model.width"]
    expected = [
        *({"model": "cnn", "dropout": d, "model.width": w} for d, w in itertools.product((0.0, 0.1, 0.2), (16, 32))),
        *({"model": "transformer:depth=1", "dropout": d} for d in (0.0, 0.1, 0.2)),
    ]
    assert grid == expected


def test_knobs_that_can_never_count_are_left_out() -> None:
    of_cnn, of_unet = (When(name="model", values=(name,)) for name in ("cnn", "u-net"))
    width = Choices(name="model.width", choices=(8,), when=of_cnn)
    levels = Choices(name="model.levels", choices=(1, 2), when=of_unet)
    hanging = Choices(name="dropout", choices=(0.0,), when=When(name="model.levels", values=("1",)))
    model = Choices(name="model", choices=("cnn", "transformer"))
    assert [knob.name for knob in make_space([width, levels, hanging, model], {}).knobs] == ["model", "model.width"]
    assert [knob.name for knob in make_space([width, levels], {"model": "u-net:levels=2"}).knobs] == ["model.levels"]


def test_conditions_may_not_go_round_and_something_must_be_varied() -> None:
    with pytest.raises(InputError, match="nothing is varied"):
        make_space([], {})
    a = Choices(name="a", choices=(1,), when=When(name="b", values=("1",)))
    b = Choices(name="b", choices=(1,), when=When(name="a", values=("1",)))
    with pytest.raises(InputError, match="leave one out"):
        make_space([a, b], {})


def test_settings_become_a_configuration() -> None:
    base = FinetuneConfig(table="t.csv", augment=("letter-dropout:rate=0.1",))
    settings = {"learning_rate": 0.01, "model": "cnn:depth=2", "model.kernel_size": 7, "head.pooling": "max"}
    config = configured(base, {**settings, "freeze": None, "lora.rank": 4, "augment.policy": "none"}, "protein")
    assert (config.learning_rate, config.model, config.head) == (
        0.01,
        "cnn:depth=2,kernel_size=7",
        "pooled-head:pooling=max",
    )
    assert (config.freeze, config.lora, config.augment) == (None, "lora:rank=4", base.augment)
    assert configured(base, {"augment": "cutout:length=3"}, "protein").augment == ("cutout:length=3",)
    adapted = FinetuneConfig(table="t.csv", init_from="run", lora="rank=2,saved=adapter")
    assert configured(adapted, {"lora.alpha": 4}, "protein").lora == "lora:rank=2,saved=adapter,alpha=4"
    assert has_field(adapted.lora, "rank") and has_field("lora:rank=2", "rank") and not has_field("lora", "rank")
    with pytest.raises(InputError, match=r"loss.gamma: of what"):
        configured(base, {"loss.gamma": 2.0}, "protein")
    with pytest.raises(InputError, match=r"dropout 1.5: must be at least 0"):
        configured(base, {"dropout": 1.5}, "protein")


def test_policies_become_words_that_augmenters_understand() -> None:
    from seqtrain.alphabet import ALPHABETS
    from seqtrain.augment import Chain, OneOf, RandAugment, read_policy

    rand = policy_words(
        {
            "augment.policy": "rand",
            "augment.rand.operations": 2,
            "augment.rand.magnitude": 0.5,
            "augment.rand.indels": True,
        },
        "protein",
        moving=True,
    )
    policy = read_policy(rand, ALPHABETS["protein"])
    assert isinstance(policy, RandAugment) and (policy.num_operations, policy.magnitude) == (2, 0.5)
    assert len(policy.members) == 5
    auto = {"augment.policy": "auto", "augment.auto.operations": 2}
    for number, operation in ((1, "cutout"), (2, "matrix-substitution")):
        auto |= {
            f"augment.auto.{number}": operation,
            f"augment.auto.{number}.strength": 0.5,
            f"augment.auto.{number}.probability": 0.25,
        }
    words = policy_words(auto, "protein", moving=True)
    assert words == ("cutout:length=15,probability=0.25", "matrix-substitution:rate=0.15,probability=0.25")
    chain = read_policy(words, ALPHABETS["protein"])
    assert isinstance(chain, Chain) and all(isinstance(member, OneOf) for member in chain.members)
    for alphabet in ("protein", "dna", "rna", "codon"):
        rng = np.random.default_rng(1)
        space = make_space(policy_knobs(alphabet, moving=True), {})
        for _ in range(30):
            drawn = policy_words(space.settings(lambda knob, rng=rng: knob.draw(rng)), alphabet, moving=True)  # type: ignore[misc]
            if drawn:
                read_policy(drawn, ALPHABETS[alphabet])
    still = policy_knobs("protein", moving=False)
    assert not any("random" in str(choice) for knob in still if isinstance(knob, Choices) for choice in knob.choices)


def _draws(knobs: list[Knob], number: int) -> list[dict[str, object]]:
    space = make_space(knobs, {"model": "transformer", "freeze": None, "head": "pooled-head"})
    rng = np.random.default_rng(2)
    return [dict(space.settings(lambda knob: knob.draw(rng))) for _ in range(number)]


def test_architectures_out_of_the_box_can_all_be_built() -> None:
    from seqtrain.alphabet import PROTEIN
    from seqtrain.recipes.networks import body_config

    settings = _draws(default_knobs(("architecture",), SCRATCH), 60)
    models = {str(each["model"]) for each in settings}
    assert models == {"cnn", "residual-cnn"}
    for each in settings:
        config = configured(FinetuneConfig(table="t"), each, "protein")  # type: ignore[arg-type]
        body_config(str(config.model), "100K", PROTEIN, 0.0)
        assert ("model.growth" in each) == (each["model"] == "residual-cnn")
    with pytest.raises(InputError, match="the architecture is that of --from"):
        default_knobs(("architecture",), Situation(**{**SCRATCH.__dict__, "pretrained": True}))
    with pytest.raises(InputError, match="choose from settings, architecture"):
        default_knobs(("architectur",), SCRATCH)


def test_what_is_varied_depends_on_the_situation() -> None:
    names = {knob.name for knob in default_knobs((), SCRATCH)}
    assert names == {"learning_rate", "dropout", "weight_decay", "tokens_per_step", "epochs"}
    trained = Situation(**{**SCRATCH.__dict__, "pretrained": True})
    for each in _draws(default_knobs((), trained), 60):
        if each["freeze"] == "body":
            assert not {"lora", "learning_rate", "layer_decay"} & set(each)
        else:
            assert {"learning_rate", "layer_decay", "head_learning_rate", "epochs"} <= set(each)
        assert ("lora" in each) == (each["freeze"] is None)
    rate = next(knob for knob in default_knobs((), Situation(**{**SCRATCH.__dict__, "models": ("cnn",)})))
    assert isinstance(rate, Range) and math.isclose(rate.high, 1e-2)
    assert default_knobs(("none",), SCRATCH) == []
