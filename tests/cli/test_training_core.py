"""Losses, optimisers, schedules and the rest by words on the command line: used, kept, read back, and refused."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields
from itertools import zip_longest
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from safetensors.numpy import load_file

from seqtrain import scoring
from seqtrain.alphabet import PROTEIN
from seqtrain.averaging import Averaging
from seqtrain.config import FinetuneConfig, PretrainConfig
from seqtrain.config_files import read_config, to_toml
from seqtrain.errors import InputError
from seqtrain.io.run_directory import sha256_of
from seqtrain.losses import Loss
from seqtrain.optimizers import Optimizer
from seqtrain.recipes.training_core import check_words
from seqtrain.regularization import Regularization
from seqtrain.run import load_run
from seqtrain.schedules import Schedule
from seqtrain.stopping import Stopping
from seqtrain.task_file import task_from_json, task_to_json
from seqtrain.words import name_of, names_of, read_words
from tests.cli.conftest import SEQUENCES, TINY, Command, fasta, table

SMALL = (*TINY, "--tokens-per-step", "256")
TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "classes": (table(lambda i: ("1.a", "1.b", "2.a")[i % 3]), ("--task", "classification")),
    "residues": (
        table(lambda i: "".join("HEC"[(j + i) % 3] for j in range(len(SEQUENCES[i])))),
        ("--task", "residue"),
    ),
    "labels": (table(lambda i: ("a;b", "b", "a;c", "")[i % 4]), ("--task", "multilabel")),
    "numbers": (table(lambda i: i * 7 % 11 + 0.5), ("--task", "regression")),
    "two": (
        table(lambda i: f"{i * 7 % 11 + 0.5},{'' if i % 9 == 4 else i * 3 % 13 + 0.25}", header="u,v"),
        ("--target", "u", "--target", "v"),
    ),
}
"""Text and options of a table of each kind of target."""

LOSSES: dict[str, list[str]] = {
    "classes": [
        "cross-entropy:label_smoothing=0.1,class_weights=1/2/0.5", "confidence-penalty", "focal:gamma=1",
        "inverse-frequency", "class-balanced", "class-balanced:form=sigmoid", "class-balanced:form=focal", "ldam",
        "logit-adjusted", "hinge", "hinge:form=weston-watkins", "large-margin-softmax", "dice", "hierarchical",
        "ordered-transport", "optimal-transport:cost=0/1/2/1/0/2/2/2/0", "kl-divergence",
        "online-hard-examples:fraction=0.5,loss=focal:gamma=1",
    ],
    "residues": ["focal", "class-balanced:form=sigmoid", "ldam", "dice", "online-hard-examples:loss=inverse-frequency"],
    "labels": ["binary-cross-entropy", "binary-focal", "binary-class-balanced", "binary-dice", "asymmetric"],
    "numbers": [
        "mean-squared-error", "mean-absolute-error", "huber:delta=0.5", "pairwise-ranking", "quantized:num_bins=4",
        "online-hard-examples:loss=quantized:num_bins=3",
        "online-hard-examples:loss=huber",
    ],
    "two": ["cosine-distance", "quantized:num_bins=3"],
}  # fmt: skip
CASES = [(kind, words) for kind, losses in LOSSES.items() for words in losses]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither intervals nor syncing to disk are looked at here."""
    monkeypatch.setattr(scoring, "_num_resamples", lambda count: 2)
    monkeypatch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    for kind, (text, _) in TABLES.items():
        (folder / f"{kind}.csv").write_text(text)
    (folder / "proteins.fasta").write_text(fasta())
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("losses")


RunOf = Callable[[str, str], Path]


@pytest.fixture
def run_of(command: Command, tables: Path, folder: Path) -> RunOf:
    """The finished run of a loss on a kind of table, trained at first need."""

    def trained(kind: str, words: str) -> Path:
        run = folder / f"{kind} {words.replace('/', '_')}"
        if not run.exists():
            start = ("finetune", tables / f"{kind}.csv", *TABLES[kind][1], "--loss", words, "-o", run, *SMALL)
            outcome = command(*start)
            assert outcome.code == 0, outcome.err
        return run

    return trained


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def written_by(run: Path) -> list[dict[str, str]]:
    """Rows of predictions.csv."""
    return rows_of((run / "predictions.csv").read_text())


def held_out(run: Path, path: Path) -> Path:
    """The records of predictions.csv, as a FASTA in their order: so they share batches as they did in the training."""
    names = [row["identifier"] for row in written_by(run)]
    path.write_text("".join(f">{name}\n{SEQUENCES[int(name[1:])]}\n" for name in names))
    return path


def assert_same_predictions(run: Path, predicted: str) -> None:
    written, rows = written_by(run), rows_of(predicted)
    assert len(written) == len(rows) >= 6
    for before, now in zip(written, rows, strict=True):
        cells = [name for name in now if name.startswith(("prediction", "probability"))]
        assert cells and {name: before[name] for name in cells} == {name: now[name] for name in cells}


def test_every_loss_that_words_can_write_is_tried() -> None:
    tried = {words.partition(":")[0] for _, words in CASES}
    assert tried == set(names_of(Loss)) - {"weighted-sum"}


@pytest.mark.parametrize(("kind", "words"), CASES)
def test_a_loss_by_words_trains_survives_its_file_and_predicts(
    kind: str, words: str, command: Command, run_of: RunOf, tmp_path: Path
) -> None:
    run = run_of(kind, words)
    assert read_config(FinetuneConfig, run / "config.toml", {}).loss == words
    task = load_run(run).task
    assert task is not None and task.trained_loss is not None
    assert name_of(type(task.trained_loss)) == words.partition(":")[0]
    task.values(np.ones((2, task.loss.width(task.outputs)), np.float32))  # what it works out for itself is not saved
    assert task_from_json(json.loads(json.dumps(task_to_json(task)))) == task
    assert_same_predictions(run, command("predict", run, held_out(run, tmp_path / "held_out.fasta")).out)


def test_losses_are_not_all_the_same(run_of: RunOf) -> None:
    for kind in ("classes", "labels", "numbers"):
        weights = {sha256_of(run_of(kind, words) / "model/head.safetensors") for words in LOSSES[kind]}
        assert len(weights) == len(LOSSES[kind])


_PREDICT = """
import sys
from seqtrain_cli.main import main
for run, records, output in zip(*[iter(sys.argv[1:])] * 3):
    try:
        main(["predict", run, records, "-o", output])
    except SystemExit as leave:
        assert not leave.code, run
"""


def test_another_process_predicts_what_the_training_wrote(run_of: RunOf, tmp_path: Path) -> None:
    kinds = {"numbers": "quantized:num_bins=4", "classes": "class-balanced:form=sigmoid", "residues": "ldam"}
    runs = [run_of(kind, words) for kind, words in kinds.items()]
    asked = [
        str(each)
        for number, run in enumerate(runs)
        for each in (run, held_out(run, tmp_path / f"{number}.fasta"), tmp_path / f"{number}.csv")
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", _PREDICT, *asked], env=environment, check=True, capture_output=True)
    for number, run in enumerate(runs):
        assert_same_predictions(run, (tmp_path / f"{number}.csv").read_text())


def test_probabilities_of_sigmoids_and_values_of_bins(run_of: RunOf) -> None:
    run = load_run(run_of("classes", "class-balanced:form=sigmoid"))
    assert run.task is not None
    outputs = np.array([[2.0, -1.0, 0.5]], np.float32)
    # Outputs of 0 stand for a chance of one third each.
    sigmoids = 1 / (1 + 2 * np.exp(-outputs.astype(float)))
    assert run.task.values(outputs) == pytest.approx(sigmoids / sigmoids.sum(), rel=1e-6)
    run = load_run(run_of("numbers", "quantized:num_bins=4"))
    labels = [float(row["label"]) for row in rows_of(TABLES["numbers"][0])]
    predicted = [float(row["prediction"]) for row in written_by(run.folder)]
    assert min(labels) < min(predicted) <= max(predicted) < max(labels)
    assert run.task is not None
    # All of the probability in the last bin: the mean of the largest quarter of the labels, about.
    (last,) = run.task.values(np.array([[0, 0, 0, 90]], np.float32))[0]
    assert np.quantile(labels, 0.75) <= last <= max(labels)


DAMAGES: dict[str, Any] = {
    "an unknown loss": {"name": "fokal"},
    "an unknown field": {"name": "quantized", "num_bins": 4, "bins": 4},
    "no loss": None,
    "a list": [1, 2],
    "a loss of other targets": {"name": "focal"},
    "no bins": {"name": "quantized", "num_bins": 4, "edges": None, "centres": None},
    "fewer bins": {"name": "quantized", "num_bins": 4, "edges": [1.0], "centres": [1.0, 2.0]},
    "bins of texts": {"name": "quantized", "num_bins": "many"},
}


def test_a_damaged_loss_is_refused(command: Command, run_of: RunOf, tables: Path, tmp_path: Path) -> None:
    source, run = run_of("numbers", "quantized:num_bins=4"), tmp_path / "run"
    run.mkdir()
    for name in ("model", "run.json"):
        (run / name).symlink_to(source / name)
    meaning = json.loads((source / "task.json").read_text())
    for damage in ("nothing", *DAMAGES):
        if damage != "nothing":
            meaning["task"]["trained_loss"] = DAMAGES[damage]
        (run / "task.json").write_text(json.dumps(meaning))
        outcome = command("predict", run, tables / "numbers.csv")
        assert outcome.code == (0 if damage == "nothing" else 2), (damage, outcome.err)
        if damage != "nothing":
            assert outcome.err.startswith(f"error: {run}/task.json: damaged (") and outcome.err.count("\n") == 1


def needed(kind: type[Any]) -> str:
    """A class in words, with a value for each field that has no default and that training does not give."""
    missing = [field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]
    values = [f"{name}=0.01" for name in missing if name not in ("learning_rate", "num_steps")]
    return f"{name_of(kind)}:{','.join(values)}" if values else name_of(kind)


def words_of(union: Any) -> list[str]:
    return [needed(kind) for kind in get_args(union)]


@dataclass(frozen=True)
class Mixture:
    """One word of each kind."""

    optimizer: str
    schedule: str
    regularize: str
    average: str
    stop_early: str


def mixtures() -> Iterator[Mixture]:
    """So many that every optimiser, schedule, regulariser, average and criterion comes in one."""
    default = ("adamw", "constant", "clip-norm", "ema", "patience")
    unions = (Optimizer, Schedule, Regularization, Averaging, Stopping)
    for words in zip_longest(*map(words_of, unions)):
        yield Mixture(*(word or usual for word, usual in zip(words, default, strict=True)))


@pytest.mark.parametrize("mixture", list(mixtures()), ids=lambda mixture: f"{mixture.optimizer}, {mixture.schedule}")
def test_every_optimizer_and_schedule_by_words(
    mixture: Mixture, command: Command, tables: Path, tmp_path: Path
) -> None:
    options = [
        *("--optimizer", mixture.optimizer, "--schedule", mixture.schedule, "--regularize", mixture.regularize),
        *("--average", mixture.average, "--stop-early", mixture.stop_early, "--learning-rate", "0.003"),
    ]
    run = tmp_path / "run"
    outcome = command("pretrain", tables / "proteins.fasta", "-o", run, *options, *SMALL)
    assert outcome.code == 0, outcome.err
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rates = [row["learning_rate"] for row in rows if row["event"] == "train"]
    given = {"num_steps": 3, "warmup_fraction": 0.1, "seed": 0}
    schedule, _ = read_words(mixture.schedule, Schedule, "schedule", given=given)
    if mixture.schedule != "batch-growth":  # which makes fewer steps
        assert rates == pytest.approx([0.003 * schedule(step) for step in range(3)], rel=1e-12)
    assert all(np.isfinite(row["loss"]) for row in rows)
    config = read_config(PretrainConfig, run / "config.toml", {})
    kept = Mixture(config.optimizer, config.schedule, *config.regularize, str(config.average), str(config.stop_early))
    assert kept == mixture
    assert to_toml(config) == (run / "config.toml").read_text()


def test_optimizers_regularisers_and_averages_are_not_all_the_same(
    command: Command, tables: Path, tmp_path: Path
) -> None:
    options = [["--optimizer", words] for words in ("adamw", "adam", "sgd", "lamb", "lars", "muon", "add-sign")]
    options += [["--regularize", words] for words in ("l1:strength=0.1", "gradient-noise:eta=0.1,seed=3")]
    options += [["--average", words] for words in ("ema:decay=0.5", "swa:start_fraction=0")]
    weights = set()
    for number, each in enumerate(options):
        run = tmp_path / str(number)
        assert command("pretrain", tables / "proteins.fasta", "-o", run, *each, *SMALL).code == 0
        weights.add(sha256_of(run / "model/model.safetensors"))
    assert len(weights) == len(options)


def split_table(labels: str, sets: str) -> str:
    """A record for each letter of the labels; t, v and e say which set it is in."""
    names = {"t": "train", "v": "valid", "e": "test"}
    rows = [
        f"p{i},{SEQUENCES[i]},{label},{names[part]}" for i, (label, part) in enumerate(zip(labels, sets, strict=True))
    ]
    return "\n".join(["id,sequence,label,split", *rows, ""])


ABSENT = split_table("ababababc", "ttttttvve")
UNWATCHED = split_table("ababab", "tttteeee"[:6])
CLASSES, NUMBERS, LABELS = (TABLES[kind][0] for kind in ("classes", "numbers", "labels"))
BAD_FINETUNES: dict[str, tuple[str, list[str], list[str]]] = {
    "a loss misspelt": (CLASSES, ["--loss", "fokal"], ["--loss fokal", "did you mean 'focal'?"]),
    "an unknown loss": (CLASSES, ["--loss", "xyz"], ["choose from mean-squared-error", "ldam", "quantized"]),
    "an unknown field": (CLASSES, ["--loss", "focal:gama=1"], ["did you mean 'gamma'?"]),
    "no number": (CLASSES, ["--loss", "focal:gamma=x"], ["focal: gamma: 'x' is no number"]),
    "nan": (CLASSES, ["--loss", "focal:gamma=nan"], ["gamma=nan is not a number of at least 0"]),
    "hinge on regression": (
        NUMBERS, ["--task", "regression", "--loss", "hinge"],
        ["--loss hinge", "a loss of classes", "asks for numbers", "choose from mean-squared-error"],
    ),
    "huber on classes": (CLASSES, ["--loss", "huber"], ["a loss of numbers", "asks for classes", "choose from cross"]),
    "classes for labels": (LABELS, ["--task", "multilabel", "--loss", "focal"], ["asks for labels", "binary-focal"]),
    "cosine of one number": (NUMBERS, ["--task", "regression", "--loss", "cosine-distance"], ["only its sign"]),
    "weights of an absent class": (ABSENT, ["--loss", "class-balanced"], ["class 2", "no training record"]),
    "margins of an absent class": (ABSENT, ["--loss", "ldam"], ["class 2", "no training record"]),
    "priors of an absent class": (ABSENT, ["--loss", "logit-adjusted"], ["class 2", "no training record"]),
    "too few weights": (CLASSES, ["--loss", "cross-entropy:class_weights=1/2"], ["2 class_weights for 3 outputs"]),
    "too few costs": (CLASSES, ["--loss", "optimal-transport:cost=0/1/1/0"], ["4 costs for 3 classes; give 9"]),
    "no costs": (CLASSES, ["--loss", "optimal-transport"], ["optimal-transport needs cost"]),
    "no levels": (ABSENT, ["--loss", "hierarchical"], ["no class is named with '.' between levels"]),
    "hard examples of dice": (CLASSES, ["--loss", "online-hard-examples:loss=dice"], ["dice is no sum over elements"]),
    "several losses": (CLASSES, ["--loss", "weighted-sum"], ["put together from Python"]),
    "one bin": (NUMBERS, ["--task", "regression", "--loss", "quantized:num_bins=1"], ["num_bins=1 is not a number"]),
    "disturbed numbers": (NUMBERS, ["--task", "regression", "--disturbed-fraction", "0.1"], ["targets are numbers"]),
    "disturbed labels": (LABELS, ["--task", "multilabel", "--disturbed-fraction", "0.1"], ["targets are labels"]),
    "balanced numbers": (NUMBERS, ["--task", "regression", "--sampling", "balanced"], ["--sampling balanced"]),
    "nothing to stop by": (UNWATCHED, ["--stop-early", "patience"], ["--stop-early patience", "no validation records"]),
    "nothing for a plateau": (UNWATCHED, ["--schedule", "plateau"], ["--schedule plateau", "no validation records"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FINETUNES)
def test_what_does_not_fit_a_table_ends_before_training(name: str, command: Command, tmp_path: Path) -> None:
    text, options, words = BAD_FINETUNES[name]
    path = tmp_path / "table.csv"
    path.write_text(text)
    command("finetune", path, *options, "-o", tmp_path / "run", *SMALL).refused(*words)
    assert not (tmp_path / "run").exists()


BAD_WORDS = {
    "--optimizer adamm": ["--optimizer adamm: no optimizer is called 'adamm'; did you mean 'adam'?"],
    "--optimizer xyz": ["choose from adamw, adam, amsgrad", "hypergradient-adam"],
    "--optimizer adamw:beta=0.9": ["did you mean 'betas'?"],
    "--optimizer adamw:betas=0.9": ["give two numbers, such as 0.9/0.999"],
    "--optimizer adamw:learning_rate=nan": ["learning_rate is nan"],
    "--optimizer adamw:learning_rate=0.00002": ["the rate is --learning-rate 2e-05; write it so"],
    "--optimizer sgd:nesterov=true,momentum=0": ["nesterov needs momentum above 0"],
    "--optimizer power-sign:num_steps=9": ["num_steps is that of the training, 3", "--steps"],
    "--schedule warmup-cosin": ["did you mean 'warmup-cosine'?"],
    "--schedule xyz": ["choose from constant, step-decay", "batch-growth"],
    "--schedule one-cycle:peak_fraction=1.5": ["peak_fraction is 1.5; give a fraction from 0 to 1"],
    "--schedule one-cycle:three_phases=true,peak_fraction=0.7": ["no time to come down again"],
    "--schedule plateau:factor=2": ["does not lower the rate"],
    "--schedule batch-growth:growth=1": ["give a number above 1"],
    "--schedule step-decay:milestones=0.9/0.5": ["increasing fractions"],
    "--schedule linear:num_steps=1": ["num_steps is that of the training, 3", "--steps"],
    "--regularize xyz": ["no regulariser is called 'xyz'; choose from l2, l1, proximal-l1, max-norm"],
    "--regularize l1": ["l1 needs strength: write l1:strength=…"],
    "--regularize max-norm:limit=0": ["limit is 0"],
    "--average xyz": ["choose from ema, swa"],
    "--average ema:decay=1": ["decay is 1"],
    "--average ema:correction=some": ["'some' is none of bias, warm-up, none"],
    "--average swa:every=5": ["gathers nothing"],
    "--average swa:num_steps=1000": ["num_steps is that of the training, 3", "--steps"],
    "--stop-early xyz": ["no criterion is called 'xyz'; choose from patience, gl, pq, up"],
    "--stop-early patience:evaluations=0": ["evaluations is 0"],
    "--stop-early pq:strip=1": ["strip is 1"],
    "--schedule one-cycle:low_momentum=0.8 --optimizer adagrad": ["--optimizer adagrad has no momentum to cycle"],
    "--curriculum automatic:by=noise": ["a FASTA has no columns", "automatic:by=length"],
    "--curriculum automatic:groups=99": ["groups is 99; give a whole number from 2 to 50"],
    "--spectral-norm 0": ["--spectral-norm 0.0: must be a finite number greater than 0"],
    "--spectral-norm 1 --compile": ["--spectral-norm 1: cannot be compiled; leave --compile out"],
    "--spectral-norm 1 --model residual-cnn:norm=none --initialise fixup": [
        "starts at 0; leave --initialise fixup out"
    ],
    "--tokens-per-microbatch some": ["'some' is not a number"],
    "--on-nan ignore": ["'ignore' is not one of 'stop', 'skip', 'rollback'"],
    "--loss focal": ["No such option '--loss'"],
}


@pytest.mark.parametrize("words", BAD_WORDS)
def test_bad_words_end_before_training(words: str, command: Command, tables: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    outcome = command("pretrain", tables / "proteins.fasta", *words.split(), "-o", run, *SMALL)
    outcome.refused(*BAD_WORDS[words])
    assert not (run / "metrics.jsonl").exists() and not (run / "model").exists()
    # A start that was refused binds nobody.
    if words == "--optimizer xyz":
        assert command("pretrain", tables / "proteins.fasta", "-o", run, *SMALL).code == 0


SETTINGS = {
    "optimizer": "lamb:betas=0.8/0.99",
    "schedule": "one-cycle:peak_fraction=0.5",
    "regularize": ["l1:strength=0.001", "max-norm"],
    "average": "ema:decay=0.5",
    "stop_early": "patience:evaluations=2",
    "on_nan": "rollback",
    "loss": "class-balanced:form=focal",
    "sampling": "square-root",
    "disturbed_fraction": 0.1,
}


def test_a_file_says_what_options_say(command: Command, tables: Path, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in SETTINGS.items()))
    options: list[str] = []
    for name, value in SETTINGS.items():
        for each in value if isinstance(value, list) else [value]:
            options += [f"--{name.replace('_', '-')}", str(each)]
    runs = [tmp_path / name for name in ("file", "options")]
    for run, given in zip(runs, (["--config", path], options), strict=True):
        assert command("finetune", tables / "classes.csv", *given, "-o", run, *SMALL).code == 0
    one, other = (read_config(FinetuneConfig, run / "config.toml", {"output": "x"}) for run in runs)
    assert one == other
    assert one.regularize == ("l1:strength=0.001", "max-norm") and one.optimizer == SETTINGS["optimizer"]
    for name in ("model.safetensors", "head.safetensors"):
        assert (runs[0] / "model" / name).read_bytes() == (runs[1] / "model" / name).read_bytes()
    # The settings as they were written start the same training.
    again = tmp_path / "again"
    assert command("finetune", tables / "classes.csv", "--config", runs[0] / "config.toml", "-o", again).code == 0
    assert (again / "model/model.safetensors").read_bytes() == (runs[0] / "model/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('optimiser = "lamb"', ["'optimiser'", "did you mean 'optimizer'?"]),
        ("optimizer = 3", ["optimizer = 3", "a text in quotes"]),
        ('on_nan = "ignore"', ["on_nan = 'ignore'", "stop, skip, rollback"]),
        ("regularize = [1]", ["regularize", "a list of texts"]),
        ('schedule = "xyz"', ["--schedule xyz", "choose from constant"]),
        ('model = "mlp"', ["--model mlp", "choose from transformer, cnn"]),
        ('model = "cnn:vocabulary_size=20"', ["--model cnn:", "decided by the alphabet, protein", "leave it out"]),
    ],
)
def test_a_file_that_does_not_fit(text: str, words: list[str], command: Command, tables: Path, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    outcome = command("pretrain", tables / "proteins.fasta", "--config", path, "-o", tmp_path / "run", *SMALL)
    outcome.refused(*words)


def test_a_run_goes_on_only_as_it_was_begun_and_is_finished_once(
    command: Command, tables: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = ["--stop-early", "patience:evaluations=1,min_delta=9", "--average", "swa:start_fraction=0"]
    start = ["finetune", tables / "classes.csv", "-o", run, *SMALL, "--steps", "8", "--num-evaluations", "8", *options]
    outcome = command(*start, "--loss", "ldam", "--optimizer", "muon")
    assert outcome.code == 0
    assert "stopped after step 2 of 8: 1 evaluations since step 1 have not lowered the loss" in outcome.err
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    outcome = command(*start, "--loss", "ldam", "--optimizer", "muon")
    assert outcome.code == 0 and "this run is finished" in outcome.err and "\nstep " not in outcome.err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"} == before
    command(*start, "--loss", "focal", "--optimizer", "muon").refused(run, "loss: 'ldam' then, 'focal' now")
    command(*start, "--loss", "ldam", "--optimizer", "lamb").refused(run, "optimizer: 'muon' then, 'lamb' now")
    command(*start, "--loss", "ldam", "--optimizer", "muon", "--on-nan", "skip").refused(run, "on_nan: 'stop' then")


def test_pretraining_that_stops_early_keeps_the_best_weights(command: Command, tables: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--steps", "6", "--num-evaluations", "6", "--stop-early", "patience:evaluations=2,min_delta=9"]
    outcome = command("pretrain", tables / "proteins.fasta", "-o", run, *SMALL, *options, "--learning-rate", "0.5")
    assert outcome.code == 0, outcome.err
    assert "stopped after step 3 of 6" in outcome.err
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = {row["step"]: row["loss"] for row in rows if row["event"] == "valid" and row["step"]}
    best = min(losses, key=lambda step: losses[step])
    assert best < 3 and losses[best] < losses[3]  # a rate of 0.5 makes things worse
    results = json.loads((run / "run.json").read_text())["results"]
    assert results["valid"]["loss"] == pytest.approx(losses[best], rel=1e-5)
    assert results["steps"] == 3


def test_words_are_refused_by_themselves() -> None:
    """Without data: what the recipes ask before they read a corpus."""
    for words in BAD_WORDS:
        options = words.split(" --")[0].split()
        name = options[0].removeprefix("--").replace("-", "_")
        if len(words.split(" --")) > 1 or name not in ("optimizer", "schedule", "regularize", "average", "stop_early"):
            continue
        value: Any = (options[1],) if name == "regularize" else options[1]
        with pytest.raises(InputError):
            check_words(PretrainConfig(steps=3, **{name: value}))
    with pytest.raises(InputError, match="no augmenter is called 'xyz'"):
        check_words(PretrainConfig(augment=("xyz",)), PROTEIN)
    with pytest.raises(InputError, match=r"^--mix xyz: no mixing is called 'xyz'"):
        check_words(FinetuneConfig(mix="xyz"))
    with pytest.raises(InputError, match=r"^--curriculum xyz: no curriculum is called 'xyz'"):
        check_words(PretrainConfig(curriculum="xyz"))
    # What depends on how long the training is waits for the data.
    check_words(PretrainConfig(average="swa:every=3000"))
    check_words(PretrainConfig(schedule="linear:num_steps=7", optimizer="power-sign:num_steps=9,decay=linear"))
    check_words(FinetuneConfig(augment=("xyz",), learning_rate="auto"))


def test_a_network_of_one_norm_and_the_largest_batch_by_options_and_toml(
    command: Command, tables: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('spectral_norm = 1\ntokens_per_microbatch = "auto"\n')
    options = (*TINY, "--model", "cnn")
    one = command("pretrain", tables / "proteins.fasta", "-o", tmp_path / "one", "--config", config, *options)
    words = ("--spectral-norm", "1", "--tokens-per-microbatch", "auto")
    other = command("pretrain", tables / "proteins.fasta", "-o", tmp_path / "other", *words, *options)
    assert one.code == other.code == 0, one.err + other.err
    assert "tokens at once: " in one.err and (tmp_path / "one/largest_batch.json").exists()
    files = [tmp_path / run / "model/model.safetensors" for run in ("one", "other")]
    assert sha256_of(files[0]) == sha256_of(files[1])
    norms = {name: np.linalg.norm(each.reshape(len(each), -1), 2) for name, each in load_file(files[0]).items()}
    layers = [norm for name, norm in norms.items() if "blocks" in name and norm and name.endswith("weight")
              and "norm_" not in name]  # fmt: skip
    assert len(layers) > 5 and all(0.99 < norm < 1.15 for norm in layers)
    # A finetuning from it may go on with the option; from others it is refused.
    goes_on = ("finetune", tables / "classes.csv", "--from", tmp_path / "one", *TINY[2:], "--spectral-norm")
    assert command(*goes_on, "1", "-o", tmp_path / "goes on").code == 0
    command(*goes_on, "3", "-o", tmp_path / "refused").refused("has the norm", "train from scratch")
    # What is written says nothing of how it was trained, and is read like any other.
    assert load_run(tmp_path / "one").single.body.config == load_run(tmp_path / "other").single.body.config


def test_lr_range_takes_no_options_of_whole_trainings(command: Command, tables: Path, tmp_path: Path) -> None:
    page = command("lr-range", "--help").out
    for option in ("--output", "--overwrite", "--dry-run", "--schedule", "--num-evaluations", "--steps", "--average"):
        assert f"{option} " not in page
    assert "--range-steps" in page and "--optimizer" in page
    command("lr-range", tables / "proteins.fasta", "--schedule", "constant").refused("No such option '--schedule'")


def test_what_was_written_is_said(command: Command, finetuned: Path, inputs: Path, tmp_path: Path) -> None:
    for verb, source in (("predict", "proteins.fasta"), ("evaluate", "classes.csv")):
        path = tmp_path / f"{verb}.csv"
        outcome = command(verb, finetuned, inputs / source, "-o", path)
        assert outcome.err.splitlines()[-1] == f"wrote {path}" and outcome.out == "" and path.exists()
        assert "wrote" not in command(verb, finetuned, inputs / source).err
