"""A trained body as a folder for transformers, with a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqtrain.alphabet import Alphabet
from seqtrain.encode import Tokens
from seqtrain.errors import InputError, RunError
from seqtrain.export import Probe, checked_difference, letter_ids, longest_of, probes
from seqtrain.io.run_directory import replacing_folder
from seqtrain.letters import PackedLetters
from seqtrain.models.backbone import BackboneConfig
from seqtrain.models.backbone_folder import TOKENS
from seqtrain.models.heads import LanguageModelHead
from seqtrain.models.network import Network
from seqtrain.models.pretrained import OWN_MODEL_TYPE, save_body
from seqtrain.models.weights import read_json
from seqtrain.run import Run

CARD = "README.md"
LANGUAGE_MODEL = "AutoModelForMaskedLM"
_POOLER = "pooler."
"""What AutoModel adds to many architectures and no language model has."""


def write_huggingface(run: Run, target: Path, description: str) -> float:
    """Write a folder that transformers loads, and check it with transformers.

    It holds the body, and the head where that is a language model's: other heads have no place in such a folder.

    Args:
        description: of the network, in a line.

    Returns:
        The largest difference to the network on random sequences.

    Raises:
        InputError: a network that transformers has no architecture for.
        RunError: the folder does not give what the network gives, or the disk is full.
    """
    network = run.single.eval()
    lm_head = network.head if isinstance(network.head, LanguageModelHead) else None
    with replacing_folder(target) as folder:
        save_body(folder, network.body, lm_head, run.alphabet.tokens)
        if read_json(folder / "config.json").get("model_type") == OWN_MODEL_TYPE:
            raise InputError(
                f"{run.folder}: transformers has no architecture like this {type(network.body).__name__}; "
                "use --to onnx or --to safetensors"
            )
        (folder / CARD).write_text(model_card(run, target.name, description), encoding="utf-8")
        difference = _largest_difference(folder, network, run.alphabet)
        _check_tokenizer(folder, run.alphabet)
    return difference


def _largest_difference(folder: Path, network: Network, alphabet: Alphabet) -> float:
    """Between what transformers computes from a folder and the network itself.

    Raises:
        RunError: it is too large, or transformers misses weights.
    """
    model, info = _loaded(folder, loader_of(network))
    missing = [name for name in info["missing_keys"] if not name.startswith(_POOLER)]
    if missing or info["mismatched_keys"]:
        raise RunError(f"{folder}: transformers misses {sorted(missing)[:3]} in what was written; please report it")
    worst = 0.0
    for probe in probes(alphabet, longest_of(network)):
        with torch.inference_mode():
            given, expected = _answers(model, network, probe)
        worst = max(worst, checked_difference(folder.name, given, expected))
    return worst


def loader_of(network: Network) -> str:
    """The class of transformers that loads the folder of a network."""
    config = network.body.config
    if isinstance(config, BackboneConfig) and config.family == "t5":
        return "T5EncoderModel"
    return LANGUAGE_MODEL if isinstance(network.head, LanguageModelHead) else "AutoModel"


def _loaded(folder: Path, loader: str) -> tuple[Any, dict[str, Any]]:
    """The model in a folder, in evaluation mode, and what transformers says of its loading."""
    import transformers
    from transformers.utils import logging as untyped

    logging: Any = untyped
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, info = getattr(transformers, loader).from_pretrained(
            folder, output_loading_info=True, local_files_only=True, dtype=torch.float32
        )
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    return model.eval(), info


def _answers(model: Any, network: Network, probe: Probe) -> tuple[Tensor, Tensor]:
    """What transformers and the network give at each position of a probe: logits, or hidden states; (T, K) each."""
    config, batch = network.body.config, probe.batch
    input_ids, real = probe.input_ids, probe.real
    is_lm = loader_of(network) == LANGUAGE_MODEL
    expected: Tensor = network(batch) if is_lm else network.body(batch.inputs, batch.boundaries)
    if isinstance(config, BackboneConfig):
        input_ids = torch.tensor(config.letter_ids)[input_ids]
        if config.family == "t5":  # it knows no token before the first letter
            input_ids, real = input_ids[:, 1:], real[:, 1:]
            first = torch.zeros(len(batch.inputs), dtype=torch.bool).index_fill(0, batch.boundaries[:-1], True)
            expected = expected[~first]
    answer = model(input_ids=input_ids, attention_mask=real.long())
    given: Tensor = (answer.logits if is_lm else answer.last_hidden_state)[real]
    if is_lm and isinstance(config, BackboneConfig):
        theirs = torch.tensor(config.output_ids)
        return given[:, theirs[theirs >= 0]], expected[:, theirs >= 0]
    return given, expected


def _check_tokenizer(folder: Path, alphabet: Alphabet) -> None:
    """Refuse a tokenizer that reads letters otherwise than seqtrain does.

    Raises:
        RunError: naming both readings.
    """
    if not (folder / "tokenizer_config.json").exists() or (folder / TOKENS).exists():
        return  # the tokenizer of others comes with their vocabulary, and letters go to it with spaces between them
    from transformers import AutoTokenizer

    unknown = alphabet.vocabulary.id("<unk>")
    text = "".join(letter for letter, index in letter_ids(alphabet).items() if index != unknown)
    found = AutoTokenizer.from_pretrained(folder, local_files_only=True)(text)["input_ids"]
    letters = PackedLetters.from_sequences([alphabet.pack(text.encode())])
    expected = Tokens(alphabet).framed_ids(letters)[0].tolist()
    if found != expected:
        raise RunError(f"{folder}: its tokenizer reads {found} where seqtrain reads {expected}; please report it")


def model_card(run: Run, name: str, description: str) -> str:
    """What the model is, what it was trained on and how, and how to load it, in Markdown."""
    record = read_json(run.folder / "run.json")
    facts: dict[str, Any] = record["facts"]
    what = f"A language model of {_KINDS[run.alphabet.name]}"
    if run.task is not None:
        what = f"The body of a model for {run.task.words}, without its head"
    lines = [
        "---", "library_name: transformers", "tags: [biology, seqtrain]", "---", f"# {name}", "",
        f"{what}: {description}. Trained with seqtrain {record['environment']['seqtrain']}.", "",
        "## Training data", "", "| input | SHA-256 |", "|---|---|",
        *(f"| {_input(key)} | `{value}` |" for key, value in facts.items() if key.startswith("data ")), "",
        "## Settings", "", "| setting | value |", "|---|---|",
        *(f"| {key} | {_cell(value)} |" for key, value in facts.items() if _is_setting(key, value)), "",
        "## Results", "", *_results(record["results"]), "",
        "## Licence", "",
        "None is chosen yet. Whoever publishes this model adds one, with a look at the licences of the data and of the "
        "weights that the training started from.", "",
        "## Loading", "", *_loading(name, loader_of(run.single)), "",
        f"Sequences were read in stretches of at most {run.max_length:,} letters; cut longer ones likewise. "
        + _tokenizing(run.single),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


_KINDS = {"protein": "proteins", "dna": "DNA", "rna": "RNA", "codon": "coding sequences"}


def _input(key: str) -> str:
    name = key.removeprefix("data ")
    return "the weights that training started from" if name == "--from" else name


def _is_setting(key: str, value: Any) -> bool:
    return not key.startswith("data ") and value is not None and value != []


def _cell(value: Any) -> str:
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value)).replace("|", "\\|")


def _results(results: Mapping[str, Any]) -> list[str]:
    """A table of the measures of each held-out set."""
    sets = {part["name"]: part["metrics"] for part in results.get("sets", [])}
    if isinstance(results.get("valid"), dict):
        sets["held out"] = results["valid"]
    rows = [
        f"| {name} | {measure} | {value:.4g} |"
        for name, measures in sets.items()
        for measure, value in measures.items()
        if isinstance(value, int | float)
    ]
    return ["| records | measure | value |", "|---|---|---|", *rows] if rows else ["No records were held out."]


def _tokenizing(network: Network) -> str:
    if isinstance(network.body.config, BackboneConfig):
        return "The tokenizer wants spaces between letters."
    return "The tokenizer joins a run of letters that it does not know into one `<unk>`; seqtrain gives one per letter."


def _loading(name: str, kind: str) -> list[str]:
    path = json.dumps(name)
    lines = [
        "```python",
        f"from transformers import {kind}, AutoTokenizer",
        "",
        f"model = {kind}.from_pretrained({path})",
        f"tokenizer = AutoTokenizer.from_pretrained({path})",
        "```",
    ]
    if kind != LANGUAGE_MODEL:
        lines += ["", "Predictions need the head: use the run with seqtrain, or its ONNX export."]
    return lines
