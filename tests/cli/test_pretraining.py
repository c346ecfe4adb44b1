"""``seqtrain pretrain --objective``: every objective trains, finetunes, goes on and is exported, or says why not."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file

from seqtrain.alphabet import PROTEIN
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import build
from seqtrain.models.pretrained import load_network, save_network
from seqtrain.models.transformer import TransformerConfig
from tests.cli.conftest import TINY, Command
from tests.corpora import RESIDUES, proteins

LEARNS = ("--steps", "3", "--num-evaluations", "1", "--device", "cpu")
WORDS = {
    "masked-lm": "masked-lm:masked_fraction=0.3,final_fraction=0.1",
    "span-masking": "span-masking",
    "masked-autoencoder": "masked-autoencoder",
    "pretext": "pretext:motifs=A-x-C/walker-a",
}


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretraining")
    texts = proteins([30 + i % 20 for i in range(40)])
    lines = [f">p{i}\n{text}\n" for i, text in enumerate([*texts, *texts[:3], *texts[:3]])]
    (folder / "corpus.fasta").write_text("".join(lines))
    rows = "".join(f"{text},{i % 3}.5\n" for i, text in enumerate(texts))
    (folder / "table.csv").write_text(f"sequence,label\n{rows}")
    return folder / "corpus.fasta"


@pytest.fixture
def folder_of_esm(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = build(TransformerConfig.of_size("100K"), LanguageModelHeadConfig())
    save_network(network, tmp_path / "esm", PROTEIN.tokens)
    return tmp_path / "esm"


def test_all_files_of_a_pattern_are_held_out(command: Command, fasta: Path, tmp_path: Path) -> None:
    for name in "xyz":
        (tmp_path / f"held_{name}.fasta").write_text(f">{name}\n{proteins([50], seed=ord(name))[0]}\n")
    run = tmp_path / "run"
    done = command("pretrain", fasta, "--valid", tmp_path / "held_*.fasta", *TINY, "-o", run)
    assert done.code == 0, done.err
    data = {name for name in json.loads((run / "run.json").read_text())["facts"] if name.startswith("data ")}
    assert data == {
        "data 1 corpus.fasta",
        *(f"data valid {i} held_{name}.fasta" for i, name in enumerate("xyz", start=1)),
    }
    held = tmp_path / "held_x.fasta"
    command("pretrain", fasta, held, *TINY, "--overwrite", "-o", run)
    command("pretrain", fasta, "--valid", held, *TINY, "-o", run).refused(run, "data")
    command("pretrain", fasta, held, "--valid", held, *TINY, "-o", run).refused(held, "is trained on too")


def test_files_in_the_words_of_an_augmentation_are_compared(command: Command, fasta: Path, tmp_path: Path) -> None:
    profile, run, variants = tmp_path / "family.fasta", tmp_path / "run", tmp_path / "variants.fasta"
    profile.write_text(">a\nMKTAY\n>b\nMKSAY\n>c\nMRTAY\n")
    words = ("pretrain", fasta, "--augment", f"profile-substitution:profile={profile},rate=0.1", *TINY, "-o", tmp_path)
    command(*words).refused("has 42 letters, but the profile", "5 columns")
    variants.write_text("".join(f">v{i}\nM{a}{b}AY\n" for i, (a, b) in enumerate(product(RESIDUES, "TSAV"))))
    words = ("pretrain", variants, "--augment", f"profile-substitution:profile={profile},rate=0.1", *TINY, "-o", run)
    done = command(*words)
    assert done.code == 0, done.err
    profile.write_text(">a\nMKTAY\n>b\nWWWAY\n>c\nMRTAY\n")
    command(*words).refused(run, "data augment 1 family.fasta")


@pytest.mark.parametrize("name", WORDS)
def test_an_objective_trains_finetunes_and_goes_on(name: str, command: Command, fasta: Path, tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "continued"
    done = command("pretrain", fasta, "--objective", WORDS[name], *TINY, "-o", run)
    assert done.code == 0 and "seqtrain finetune TABLE --from" in done.message
    results = json.loads((run / "run.json").read_text())["results"]
    assert results["valid"]["loss"] > 0
    kind = json.loads((run / "task.json").read_text())["task"]["kind"]
    assert kind == ("masked_lm" if name in ("masked-lm", "span-masking") else "self_supervised")
    if name == "pretext":
        assert "(a constant guess:" in done.err and "R² of hydropathy" in done.err
        assert results["labels"]["hydropathy"]["deviation"] > 0 and "r2_hydropathy" in results["valid"]
        assert "not asked for, as all sequences have the same: walker-a" in done.err
    tuned = command("finetune", fasta.parent / "table.csv", "--from", run, *LEARNS, "-o", tmp_path / "tuned")
    assert tuned.code == 0, tuned.err
    assert command("pretrain", fasta, "--from", run, *LEARNS, "-o", other).code == 0
    assert json.loads((other / "task.json").read_text())["task"]["kind"] == "masked_lm"


def test_going_on_starts_a_fresh_language_model_at_the_letter_frequencies(
    command: Command, fasta: Path, tmp_path: Path
) -> None:
    command("pretrain", fasta, "--objective", "masked-autoencoder", *TINY, "-o", tmp_path / "run")
    words = ("--steps", "1", "--learning-rate", "1e-12", "--num-evaluations", "1", "--device", "cpu")
    done = command("pretrain", fasta, "--from", tmp_path / "run", *words, "-o", tmp_path / "next")
    measures = json.loads((tmp_path / "next/run.json").read_text())["results"]
    assert done.code == 0
    assert measures["valid"]["perplexity"] == pytest.approx(measures["unigram_perplexity"], rel=0.2)
    before, after = (load_network(tmp_path / run / "model")[0].body for run in ("run", "next"))
    torch.testing.assert_close(after.state_dict(), before.state_dict(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", WORDS)
def test_a_folder_of_esm_is_trained_further_with_every_objective(
    name: str, command: Command, fasta: Path, folder_of_esm: Path, tmp_path: Path
) -> None:
    done = command(
        "pretrain", fasta, "--from", folder_of_esm, "--objective", WORDS[name], *LEARNS, "-o", tmp_path / "r"
    )
    assert done.code == 0, done.err
    moved = load_file(tmp_path / "r/model/model.safetensors")
    for key, array in load_file(folder_of_esm / "model.safetensors").items():
        if key in moved and key.endswith("query.weight"):
            assert 0 < abs(moved[key] - array).max() < 0.01


def test_exports_of_a_run_without_a_language_model_head_say_what_it_can_do(
    command: Command, fasta: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command("pretrain", fasta, "--objective", "masked-autoencoder", *TINY, "-o", run)
    done = command("export", run, "--to", "huggingface", "-o", tmp_path / "model")
    assert done.code == 0 and "the body, for AutoModel" in done.message
    assert "pretrained without a language model head: finetune it" in done.err
    assert command("export", run, "--to", "safetensors", "-o", tmp_path / "one.safetensors").code == 0
    command("export", run, "--to", "onnx", "-o", tmp_path / "one.onnx").refused(run, "an ONNX file cannot hide")
    command("score", run, fasta, "--all-singles").refused(run, "no language model head")


@pytest.mark.parametrize("objective", ["pretext:properties=hydropathy", "nnclr:support_size=8"])
def test_an_onnx_file_of_a_run_that_answers_for_sequences(
    objective: str, command: Command, fasta: Path, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    run, path = tmp_path / "run", tmp_path / "one.onnx"
    words = ("--objective", objective, "--tokens-per-step", "400")
    assert command("pretrain", fasta, *words, *TINY, "-o", run).code == 0
    done = command("export", run, "--to", "onnx", "-o", path)
    assert done.code == 0 and "largest difference in onnxruntime" in done.err, done.err
    about = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert "for each sequence; no labels" in about["logits"] and "tokens" not in about
    command("score", run, fasta, "--all-singles").refused(run, "no language model head", f"pretrain FASTA --from {run}")


def test_families_are_found_sampled_and_kept_in_the_run(command: Command, fasta: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = command("pretrain", fasta, "--sampling", "families:power=1", *TINY, "-o", run)
    assert done.code == 0 and "families among" in done.err
    facts = json.loads((run / "run.json").read_text())["results"]["families"]
    assert facts["records"] > facts["families"] == round(facts["effective_number_sampled"])
    assert facts["largest"] == 3 and facts["effective_number"] < facts["families"]
    clusters = tmp_path / "clusters.tsv"
    clusters.write_text("".join(f"p{i % 4}\tp{i}\n" for i in range(40)))
    words = ("--sampling", "families", "--families", clusters)
    done = command("pretrain", fasta, *words, *TINY, "-o", tmp_path / "other")
    assert done.code == 0 and "from clusters.tsv" in done.err and "are not named in it" in done.err
    clusters.write_text("".join(f"p{i % 2}\tp{i}\n" for i in range(40)))
    command("pretrain", fasta, *words, *TINY, "-o", tmp_path / "other").refused("--families", "--overwrite")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--objective", "masked-ml"), "did you mean 'masked-lm'?"),
        (("--objective", "masked-lm:masked_fractoin=0.2"), "did you mean 'masked_fraction'?"),
        (("--objective", "masked-lm:num_steps=5"), "num_steps is that of the training"),
        (("--objective", "masked-lm:masked_fraction=0.3", "--masked-fraction", "0.2"), "keep one of them"),
        (("--objective", "span-masking:longest=0"), "longest is 0"),
        (("--objective", "masked-autoencoder", "--model", "cnn"), "and this is cnn; choose another --model"),
        (("--objective", "pretext:motifs=A-1"), "is no element of a pattern"),
        (("--objective", "pretext:properties=charg"), "'charg' is none of composition, charge, hydropathy, motifs"),
        (("--objective", "pretext:properties=charge", "--alphabet", "dna"), "charge is a property of proteins"),
        (("--optimizer", "adamv"), "--optimizer adamv: no optimizer is called 'adamv'"),
        (("--sampling", "family"), "choose from natural, families"),
        (("--sampling", "families:power=2"), "power is 2; give a number from 0 to 1"),
        (("--sampling", "families", "--curriculum", "shortest-first"), "leave one of the two out"),
        (("--families", "x.tsv"), "is used by --sampling families"),
    ],
)
def test_bad_words_are_refused_before_the_corpus_is_read(
    words: tuple[str, ...], message: str, command: Command, tmp_path: Path
) -> None:
    # The record behind the first 2,000, by which the alphabet is told, could not be used.
    good = "".join(f">a{i}\nACGTACGTACGTACGTACGT\n" for i in range(2100))
    (tmp_path / "corpus.fasta").write_text(f"{good}>bad\nAC7GT\n")
    given = () if "--alphabet" in words else ("--alphabet", "protein")
    command("pretrain", tmp_path / "corpus.fasta", *words, *given, *TINY, "-o", tmp_path / "run").refused(message)
    assert not (tmp_path / "run").exists()


def test_a_table_of_families_that_does_not_exist_is_refused(command: Command, fasta: Path, tmp_path: Path) -> None:
    words = ("--sampling", "families", "--families", tmp_path / "none.tsv")
    command("pretrain", fasta, *words, *TINY, "-o", tmp_path / "run").refused("none.tsv")


@pytest.mark.parametrize(
    "objective", ["masked-lm", "masked-autoencoder", "pretext:properties=hydropathy", "sim-clr", "nnclr:support_size=8"]
)
def test_going_on_with_the_same_objective_keeps_the_head(
    objective: str, command: Command, fasta: Path, tmp_path: Path
) -> None:
    run, quick = tmp_path / "run", ("--steps", "8", "--learning-rate", "0.01", "--num-evaluations", "1")
    asked = ("--objective", objective, "--device", "cpu", "--tokens-per-step", "400")
    assert command("pretrain", fasta, *asked, *quick, "--size", "100K", "-o", run).code == 0
    still = ("--steps", "1", "--learning-rate", "1e-12", "--num-evaluations", "1")
    done = command("pretrain", fasta, *asked, *still, "--from", run, "-o", tmp_path / "next")
    assert done.code == 0 and f"{run}: its " in done.err and "is kept" in done.err, done.err
    before, after = (json.loads((tmp_path / name / "run.json").read_text())["results"] for name in ("run", "next"))
    # NNCLR begins with another support set, which its loss depends on, and what is measured of projections does not.
    measure = "alignment" if objective.startswith("nnclr") else "loss"
    assert after["valid"][measure] == pytest.approx(before["valid"][measure], rel=1e-4)


def test_a_head_that_answers_something_else_is_not_kept(command: Command, fasta: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command("pretrain", fasta, "--objective", "pretext:properties=hydropathy", *TINY, "-o", run)
    for number, words in enumerate(("pretext:properties=charge", "sim-clr", "masked-lm")):
        done = command("pretrain", fasta, "--objective", words, "--from", run, *LEARNS, "-o", tmp_path / str(number))
        assert done.code == 0 and f"{run}: a new " in done.err, done.err
    # A head for labels with as many outputs was trained to say something else.
    table = fasta.parent / "table.csv"
    assert command("finetune", table, "--from", run, *LEARNS, "-o", tmp_path / "tuned").code == 0
    words = "pretext:properties=hydropathy"
    done = command(
        "pretrain", fasta, "--objective", words, "--from", tmp_path / "tuned", *LEARNS, "-o", tmp_path / "last"
    )
    assert done.code == 0 and "a new pooled-head" in done.err, done.err


def test_a_range_test_takes_the_objective_and_the_sampling(command: Command, fasta: Path, tmp_path: Path) -> None:
    words = ("--size", "100K", "--range-steps", "30", "--device", "cpu", "--picture", tmp_path / "range.svg")
    asked = ("--objective", "pretext:properties=composition", "--sampling", "families")
    done = command("lr-range", fasta, *asked, *words)
    assert done.code == 0 and "families among" in done.err and "proposed: --learning-rate" in done.out, done.err
    # The loss of a constant guess at squared errors in standard deviations, not that of letters, which is near 3.
    assert json.loads((tmp_path / "range.json").read_text())["losses"][0] < 1.5
    table = fasta.parent / "table.csv"
    command("lr-range", table, "--objective", "pretext", *words).refused("--objective: is for FASTA", table)
    command("lr-range", fasta, "--target", "label", *words).refused("--target: is for a table", fasta)
    command("lr-range", table, "--sampling", "families", *words).refused("--sampling families", "square-root, balanced")
