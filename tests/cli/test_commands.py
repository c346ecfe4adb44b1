"""Every command does what its help says: from files to runs, from runs to predictions, scores and embeddings."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from seqtrain_cli.main import COMMANDS
from tests.cli.conftest import SEQUENCES, TINY, Command, Outcome, fasta, table


def cells(text: str, separator: str = ",") -> list[dict[str, str]]:
    """The rows of a table by column."""
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator))


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_console_script_starts(name: str) -> None:
    script = Path(sys.executable).with_name("seqtrain")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "seqtrain_cli.main"]
    done = subprocess.run([*start, *name.split(), "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: seqtrain {name}".rstrip())


def test_no_command_shows_the_help_and_a_wrong_one_is_a_usage_error(command: Command) -> None:
    assert command().code == 2
    command("pretrian").refused("pretrian", "--help")
    command("export", "anything").refused("Missing option '--to'. Choose from: huggingface, onnx, safetensors; see")


@pytest.mark.parametrize("verb", ["predict", "embed", "evaluate", "pseudo-label"])
def test_an_output_that_is_the_input_is_refused(verb: str, command: Command, finetuned: Path, tmp_path: Path) -> None:
    name = tmp_path / ("in.npz" if verb == "embed" else "in.fasta")
    name.write_text(fasta())
    command(verb, finetuned, name, "-o", name).refused(name, "is the input too, which would be lost")
    assert name.read_text() == fasta()


def test_predictions_go_to_standard_output_or_to_a_file(
    command: Command, finetuned: Path, inputs: Path, tmp_path: Path
) -> None:
    path = inputs / "proteins.fasta"
    printed = command("predict", finetuned, path).out
    rows = cells(printed)
    assert [row["identifier"] for row in rows] == [f"p{i}" for i in range(40)]
    assert list(rows[0]) == ["identifier", "prediction", "probability_a", "probability_b"]
    assert all(abs(float(row["probability_a"]) + float(row["probability_b"]) - 1) < 1e-5 for row in rows)
    for name in ("x.csv", "x.tsv", "x.csv.gz", "x.tsv.gz"):
        assert command("predict", finetuned, path, "-o", tmp_path / name).out == ""
        content = (tmp_path / name).read_bytes()
        text = (gzip.decompress(content) if name.endswith("gz") else content).decode()
        assert text == printed.replace(",", "\t" if "tsv" in name else ",")


def test_standard_input(command: Command, finetuned: Path, inputs: Path) -> None:
    for name in ("proteins.fasta", "classes.csv"):
        content = (inputs / name).read_bytes()
        expected = command("predict", finetuned, inputs / name).out
        for given in (content, gzip.compress(content), b"\n\n" + content):
            assert command("predict", finetuned, "-", stdin=given).out == expected
    command("predict", finetuned, "-", stdin=b"").refused("<stdin>", "empty")
    command("predict", finetuned, "-", stdin=b">a\nMK1\n").refused("<stdin>:1", "'a'", "'1'")


def test_a_reader_that_goes_away_is_no_error_to_tell_of(finetuned: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.fasta"
    path.write_text(fasta(SEQUENCES[:10] * 400))
    start = [sys.executable, "-m", "seqtrain_cli.main", "predict", str(finetuned), str(path)]
    process = subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().startswith("identifier")
    process.stdout.close()
    told = process.stderr.read()
    assert process.wait(timeout=60) == 1
    assert "Error" not in told and "error" not in told


def test_one_row_out_for_every_record_in(command: Command, finetuned: Path, tmp_path: Path) -> None:
    path = tmp_path / "some.fasta"
    path.write_text(f">a\n{SEQUENCES[0]}\n>b\n\n>a\nMK1\n>é,“q”\n{'MKV' * 400}\n>d\n{SEQUENCES[0]}\n")
    outcome = command("predict", finetuned, path, "--bad-records", "drop")
    rows = cells(outcome.out)
    assert [row["identifier"] for row in rows] == ["a", "b", "a", "é,“q”", "d"]
    assert [bool(row["prediction"]) for row in rows] == [True, False, False, True, True]
    assert {**rows[0], "identifier": ""} == {**rows[4], "identifier": ""}
    for line in ("read 5 records", "kept 3 records", "dropped 1 record, 3 letters", "windowed 1 record", "seen before"):
        assert line in outcome.err
    rows = cells(command("predict", finetuned, path, "--bad-records", "drop", "--long", "drop").out)
    assert [bool(row["prediction"]) for row in rows] == [True, False, False, False, True]
    command("predict", finetuned, path).refused(f"{path}:3", "'b'", "empty sequence")


def test_a_table_keeps_its_columns(command: Command, finetuned: Path, inputs: Path, tmp_path: Path) -> None:
    outcome = command("predict", finetuned, inputs / "classes.csv")
    assert "column label: holds labels already" in outcome.err
    given, rows = cells((inputs / "classes.csv").read_text()), cells(outcome.out)
    assert [{name: row[name] for name in given[0]} for row in rows] == given
    for turn in range(3):
        path = tmp_path / f"{turn}.csv"
        path.write_text(outcome.out)
        outcome = command("predict", finetuned, path)
        names = outcome.out.splitlines()[0].split(",")
        assert len(names) == len(set(names)) == 3 + 3 * (turn + 2)


def test_the_titin_sized_protein(command: Command, finetuned: Path, tmp_path: Path) -> None:
    path = tmp_path / "titin.fasta"
    path.write_text(fasta(["".join(SEQUENCES * 23)[:35_213]]))
    assert len(cells(command("predict", finetuned, path).out)) == 1
    command("embed", finetuned, path, "--per-residue", "-o", tmp_path / "x.npz")
    arrays = np.load(tmp_path / "x.npz")
    assert len(arrays["embeddings"]) == arrays["boundaries"][-1] == 35_213
    assert np.isfinite(arrays["embeddings"]).all()


def test_embeddings(command: Command, pretrained: Path, inputs: Path, tmp_path: Path) -> None:
    path, mean, residues = inputs / "proteins.fasta", tmp_path / "mean.npz", tmp_path / "residues.npz"
    assert command("embed", pretrained, path, "-o", mean).code == 0
    assert command("embed", pretrained, path, "-o", residues, "--per-residue").code == 0
    whole, parts = np.load(mean), np.load(residues)
    assert whole["identifiers"].tolist() == parts["identifiers"].tolist() == [f"p{i}" for i in range(40)]
    assert np.diff(parts["boundaries"]).tolist() == [len(sequence) for sequence in SEQUENCES]
    starts, stops = parts["boundaries"][:-1], parts["boundaries"][1:]
    means = [parts["embeddings"][start:stop].mean(axis=0) for start, stop in zip(starts, stops, strict=True)]
    np.testing.assert_allclose(whole["embeddings"], means, atol=1e-5)
    bad = tmp_path / "bad.fasta"
    bad.write_text(f">a\nMK1\n>b\n{SEQUENCES[0]}\n")
    assert command("embed", pretrained, bad, "-o", mean, "--bad-records", "drop").code == 0
    assert np.isnan(np.load(mean)["embeddings"]).all(axis=1).tolist() == [True, False]


def test_scores_of_each_set(command: Command, finetuned: Path, tmp_path: Path) -> None:
    path = tmp_path / "sets.csv"
    path.write_text(table(lambda i: f"{'ab'[i % 2]},{['test_x', 'test_y'][i % 3 == 0]}", header="label,set"))
    rows = cells(command("evaluate", finetuned, path).out)
    assert {row["set"]: row["records"] for row in rows} == {"test_x": "26", "test_y": "14"}
    predicted = {row["id"]: row["prediction"] for row in cells(command("predict", finetuned, path).out)}
    right = [predicted[row["id"]] == row["label"] for row in cells(path.read_text()) if row["set"] == "test_x"]
    (accuracy,) = [row for row in rows if (row["set"], row["metric"]) == ("test_x", "accuracy")]
    assert float(accuracy["value"]) == pytest.approx(sum(right) / 26, abs=1e-6)
    assert float(accuracy["low"]) <= float(accuracy["value"]) <= float(accuracy["high"])
    path.write_text(table(lambda i: f"{'ab'[i % 2]},{['train', 'test'][i % 2]}", header="label,set"))
    rows = cells(command("evaluate", finetuned, path).out)
    assert {row["set"]: row["records"] for row in rows} == {"train": "20", "test": "20"}


def _residues() -> str:
    rows = (f"p{i},{s},{('HEC' * 20)[: len(s)]},{('110' * 20)[: len(s)]}" for i, s in enumerate(SEQUENCES))
    return "\n".join(["id,sequence,label,mask", *rows, ""])


def _codons() -> str:
    rows = (f"p{i},{SEQUENCES[i]},{'ATGGCA' * (4 + i % 5)},{'ab'[i % 2]}" for i in range(40))
    return "\n".join(["id,sequence,gene,label", *rows, ""])


TABLES: dict[str, tuple[str, list[str], Callable[[dict[str, str], dict[str, str]], bool]]] = {
    "25 amounts": (
        table(lambda i: 1000 + i % 25),
        ["--task", "regression"],
        lambda row, out: 900 < float(out["prediction"]) < 1100,
    ),
    "several numbers": (
        table(lambda i: f"{'' if i % 3 == 1 else i},{i * i if i % 4 else ''}", header="u,v"),
        ["--target", "u", "--target", "v", "--bad-records", "drop"],
        lambda row, out: bool(out["prediction_u"] and out["prediction_v"]),
    ),
    "several labels": (
        table(lambda i: ["x;y", "y", "", "z"][i % 4]),
        [],
        lambda row, out: set(out["prediction"].split(";")) <= {"x", "y", "z", ""},
    ),
    "residues": (_residues(), [], lambda row, out: len(out["prediction"]) == len(row["sequence"])),
    "odd class names": (
        table(lambda i: ['"a, b"', '"c ""q"" d"', '"日\n本"'][i % 3]),
        [],
        lambda row, out: out["prediction"] in ("a, b", 'c "q" d', "日\n本"),
    ),
    "a class of one": (
        table(lambda i: "c" if i == 3 else "ab"[i % 2]),
        [],
        lambda row, out: out["prediction"] in "abc",
    ),
    "two rows": (table(count=2), [], lambda row, out: out["prediction"] in "ab"),
    "three rows": (table(lambda i: i + 0.5, count=3), [], lambda row, out: bool(out["prediction"])),
    "the peptide NA": (
        "sequence,label\n" + "".join(f"{'NA' if i == 3 else s},{'ab'[i % 2]}\n" for i, s in enumerate(SEQUENCES)),
        [],
        lambda row, out: out["sequence"] == row["sequence"] and bool(out["prediction"]),
    ),
    "semicolons": (
        table(lambda i: i + 0.5).replace(",", ";"),
        [],
        lambda row, out: bool(out["prediction"]),
    ),
    "sets without valid": (
        table(lambda i: f"{'ab'[i % 2]},{['train', 'train', 'test', 'test 2'][i // 2 % 4]}", header="label,set"),
        [],
        lambda row, out: out["set"] == row["set"],
    ),
    "weights": (
        table(lambda i: f"{'ab'[i % 2]},{i % 3}", header="label,w"),
        ["--weight-column", "w", "--target", "label"],
        lambda row, out: bool(out["prediction"]),
    ),
    "codons": (
        _codons(),
        ["--alphabet", "codon", "--sequence-column", "gene"],
        lambda row, out: out["prediction"] in "ab",
    ),
    "dna": (
        _codons(),
        ["--alphabet", "dna", "--sequence-column", "gene", "--model", "cnn"],
        lambda row, out: bool(out["prediction"]),
    ),
    "rna": (
        _codons().replace("ATGGCA", "AUGGCA"),
        ["--alphabet", "rna", "--sequence-column", "gene"],
        lambda row, out: bool(out["prediction"]),
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_from_table_to_run_to_predictions_and_scores(name: str, command: Command, tmp_path: Path) -> None:
    text, options, fits = TABLES[name]
    path, run = tmp_path / "table.csv", tmp_path / "run"
    path.write_text(text, newline="")
    trained = command("finetune", path, "-o", run, *TINY, *options)
    assert trained.code == 0, trained.err
    assert "Warning" not in trained.err
    for expected in (
        "model",
        "task.json",
        "split.csv",
        "ledger.csv",
        "report.html",
        "metrics.jsonl",
        "predictions.csv",
    ):
        assert (run / expected).exists()
    json.loads((run / "run.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in run.json"))
    predicted = command("predict", run, path)
    assert predicted.code == 0, predicted.err
    separator = ";" if name == "semicolons" else ","
    given, rows = cells(text, separator), cells(predicted.out)
    assert len(rows) == len(given)
    assert all(fits(row, out) for row, out in zip(given, rows, strict=True))
    evaluated = command("evaluate", run, path, "--bad-records", "drop")
    assert evaluated.code == 0, evaluated.err
    assert "Warning" not in evaluated.err


@pytest.mark.parametrize("length", [1, 5, 10_000])
def test_windows_of_any_length_answer_for_every_residue(length: int, command: Command, tmp_path: Path) -> None:
    path, run = tmp_path / "table.csv", tmp_path / "run"
    path.write_text(_residues())
    assert command("finetune", path, "-o", run, *TINY, "--max-length", "12").code == 0
    outcome = command("predict", run, path, "--max-length", length)
    assert [len(row["prediction"]) for row in cells(outcome.out)] == [len(sequence) for sequence in SEQUENCES]
    assert ("windowed" in outcome.err) == (length < 50)


def test_pretraining_on_nucleotides(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "genes.fasta"
    path.write_text(fasta([f"ATG{'GCATTC' * (5 + i)}" for i in range(20)]))
    for alphabet in ("dna", "codon"):
        run = tmp_path / alphabet
        assert command("pretrain", path, "--alphabet", alphabet, "-o", run, *TINY).code == 0
        assert command("embed", run, path, "-o", tmp_path / "x.npz").code == 0
    command("pretrain", path, "--alphabet", "rna", "-o", tmp_path / "rna", *TINY).refused(f"{path}:1", "'T'", "rna")


@pytest.fixture(scope="module")
def esm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout of ESM-2, with random weights, written by transformers."""
    import torch
    from transformers import EsmConfig, EsmForMaskedLM

    from seqtrain.alphabet import PROTEIN

    torch.manual_seed(0)
    config = EsmConfig(
        vocab_size=33, mask_token_id=32, pad_token_id=1, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, position_embedding_type="rotary", token_dropout=True, emb_layer_norm_before=False,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("esm")
    EsmForMaskedLM(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(PROTEIN.tokens))
    return folder


START = ("--steps", "3", "--num-evaluations", "1", "--device", "cpu")


def test_starting_from_esm_and_from_a_run(
    esm: Path, pretrained: Path, finetuned: Path, command: Command, inputs: Path, tmp_path: Path
) -> None:
    def begin(origin: Path, name: str) -> Outcome:
        return command("finetune", inputs / "classes.csv", "--from", origin, "-o", tmp_path / name, *START)

    for origin in (esm, pretrained, finetuned):
        assert begin(origin, f"from {origin.name}").code == 0
    for option in ("--size", "1M"), ("--model", "cnn"), ("--alphabet", "dna"):
        outcome = command("finetune", inputs / "classes.csv", "--from", pretrained, "-o", tmp_path / "no", *option)
        outcome.refused(" ".join(option), pretrained, "leave")


def test_an_esm_folder_without_one_of_its_layers(esm: Path, command: Command, inputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "esm"
    folder.mkdir()
    for name in ("config.json", "vocab.txt"):
        (folder / name).write_bytes((esm / name).read_bytes())
    tensors = load_file(esm / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in tensors.items() if ".layer.1." not in name}, folder / "model.safetensors"
    )
    for kind, path in (("finetune", "classes.csv"), ("pretrain", "proteins.fasta")):
        outcome = command(kind, inputs / path, "--from", folder, "-o", tmp_path / "run", *START)
        outcome.refused(folder, "layer.1.", "missing")


def test_a_dry_run_writes_nothing(command: Command, inputs: Path, tmp_path: Path) -> None:
    for kind, path in (("finetune", "classes.csv"), ("pretrain", "proteins.fasta")):
        outcome = command(kind, inputs / path, "-o", tmp_path / "run", *TINY, "--dry-run")
        assert outcome.code == 0
        assert "steps = 3" in outcome.err
    assert not list(tmp_path.iterdir())
