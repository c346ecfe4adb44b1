"""Which network a run trains: by name and size, or taken over from another run or an ESM-2 folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from seqtrain.alphabet import PROTEIN, Alphabet
from seqtrain.config import RunConfig
from seqtrain.draws import generator_seed
from seqtrain.errors import InputError
from seqtrain.fitting import Silent
from seqtrain.io.records import find_alphabet
from seqtrain.models.adapters import Lora, attach
from seqtrain.models.backbone import BackboneConfig
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.heads import LanguageModelHeadConfig, PositionHeadConfig, SequenceHeadConfig
from seqtrain.models.hub import fetch, is_hub_name
from seqtrain.models.initialisation import Initialisation, initialise
from seqtrain.models.network import BodyConfig, FreshConfig, HeadConfig, Network, build, language_model_head
from seqtrain.models.pretrained import LoadedBody, load_body, start_network
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.weights import weights_digest
from seqtrain.run import alphabet_of_run, settings_of_run
from seqtrain.words import name_of, names_of, read_words

_SILENT = Silent()


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Weights to start from, and the alphabet they were trained on."""

    body: LoadedBody
    alphabet: Alphabet
    place: Path
    """What the user called it."""
    folder: Path
    """Where the weights lie."""
    commit: str | None = None
    """On the Hugging Face hub; None for a folder."""

    @property
    def base(self) -> str:
        """Where a later process finds the weights: the folder's whole path, or the name on the hub."""
        return str(self.place) if self.commit else str(self.folder.resolve())

    @property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        return weights_digest(self.folder)


def digests_of(origin: Origin | None) -> dict[str, str]:
    """SHA-256 of the weights that a run starts from, if it starts from any, under "--from"."""
    return {} if origin is None else {"--from": origin.digest}


def origin_of(config: RunConfig, say: Callable[[str], None]) -> Origin | None:
    """The weights that a configuration starts from, if any; what is fetched is said.

    Raises:
        InputError: see :func:`load_origin`.
    """
    if config.init_from is None:
        if config.revision is not None:
            raise InputError(f"--revision {config.revision}: is of a model named with --from; leave it out")
        return None
    return load_origin(config.init_from, config.revision, say)


def load_origin(path: str, revision: str | None = None, say: Callable[[str], None] = _SILENT.say) -> Origin:
    """The body of a run directory of ours, of a folder of ESM-2, ESM-C, BERT or T5, or of such a model on the hub.

    Raises:
        InputError: no such folder or model, an unfinished run, a revision of a folder, or weights that cannot be used.
    """
    folder = Path(path)
    if folder.exists() and revision is not None:
        raise InputError(f"--revision {revision}: {path} is a folder here, which has no revisions; leave it out")
    if not folder.exists():
        # What lies beside other runs was meant to be one: a mistyped name is not looked up elsewhere.
        beside = folder.parent != Path() and folder.parent.is_dir()
        if beside or not is_hub_name(path):
            raise InputError(
                f"--from {path}: no such folder; give a run directory, a folder with a model, or a name on the "
                "Hugging Face hub such as facebook/esm2_t6_8M_UR50D"
            )
        try:
            found = fetch(path, revision, say)
        except InputError as error:
            raise InputError(f"--from {error}") from None
        body = load_body(found.folder, PROTEIN.tokens)
        return Origin(body=body, alphabet=PROTEIN, place=folder, folder=found.folder, commit=found.commit)
    if (folder / "ensemble.json").exists():
        raise InputError(f"--from {path}: is an ensemble; name one of its members, such as {path}/members/1")
    if (folder / "run.json").exists():
        if not (folder / "task.json").exists():
            raise InputError(f"--from {path}: its training is not finished; rerun its command to continue it")
        alphabet = alphabet_of_run(folder)
        body = load_body(folder / "model", alphabet.tokens)
        return Origin(body=body, alphabet=alphabet, place=folder, folder=folder / "model")
    return Origin(body=load_body(folder, PROTEIN.tokens), alphabet=PROTEIN, place=folder, folder=folder)


def same_origin_as_before(
    origin: Origin | None, config: RunConfig, output: Path, say: Callable[[str], None]
) -> Origin | None:
    """The origin at the commit that an earlier start of the same run resolved, unless the user names a revision."""
    if origin is None or origin.commit is None or config.revision is not None:
        return origin
    before = settings_of_run(output)
    commit = before.get("revision")
    if before.get("init_from") != config.init_from or commit in (None, origin.commit):
        return origin
    say(f"{origin.place}: stays at revision {commit}, with which {output} was started")
    return load_origin(str(config.init_from), str(commit), say)


def check_language_model(origin: Origin | None) -> None:
    """Refuse weights that cannot be trained further as a masked language model.

    Raises:
        InputError: a model of others without such a head.
    """
    if origin is not None and isinstance(origin.body.config, BackboneConfig) and origin.body.lm_head_state is None:
        raise InputError(
            f"--from {origin.place}: has no masked language model head to train further; finetune it, or start from "
            "ESM-2 or from a BERT with its head"
        )


def body_config(model: str, size: str, alphabet: Alphabet, dropout: float) -> BodyConfig:
    """A fresh body in words, such as ``transformer`` or ``cnn:kernel_size=7``; what they leave out, the size decides.

    Raises:
        InputError: an unknown model, field or size, or fields that the alphabet decides.
    """
    kinds = names_of(FreshConfig)
    name = model.partition(":")[0].strip()
    of_alphabet: dict[str, Any] = {
        "vocabulary_size": len(alphabet.tokens),
        "mask_id": alphabet.vocabulary.id("<mask>"),
        "residue_ids": tuple(alphabet.standard_ids.tolist()),
    }
    given = of_alphabet | {"dropout": dropout}
    if name in kinds:
        given |= kinds[name].shape(size)
    try:
        config, _ = read_words(model, FreshConfig, "model", given=given)
    except InputError as error:
        raise InputError(f"--model {model}: {error}") from None
    for field, value in of_alphabet.items():
        if getattr(config, field, value) != value:
            raise InputError(f"--model {model}: {field} is decided by the alphabet, {alphabet.name}; leave it out")
    return cast(BodyConfig, config)


def label_head_config(words: str | None, per_residue: bool, outputs: int, dropout: float, length: int) -> HeadConfig:
    """The head of a network that predicts labels: of each residue, or of sequences, as the words say.

    Args:
        length: letters of the longest sequence, for heads that have weights for every position.

    Raises:
        InputError: an unknown head or field, or words that do not fit the labels.
    """
    if per_residue:
        if words is not None:
            raise InputError(f"--head {words}: is for one answer per sequence, not per residue; leave it out")
        return PositionHeadConfig(outputs=outputs, dropout=dropout)
    given = {"outputs": outputs, "dropout": dropout, "length": length}
    try:
        config: SequenceHeadConfig = read_words(words or "pooled-head", SequenceHeadConfig, "head", given=given)[0]
    except InputError as error:
        raise InputError(f"--head {words}: {error}") from None
    if config.outputs != outputs:
        raise InputError(f"--head {words}: the labels and their loss need {outputs} outputs; leave outputs out")
    return config


def lm_head_config(origin: Origin | None, fresh: BodyConfig | None) -> LanguageModelHeadConfig:
    """The language model head of the origin, or the one that goes with a fresh body."""
    if origin is not None:
        return origin.body.lm_head_config
    assert fresh is not None
    return language_model_head(fresh)


def make_network(
    origin: Origin | None,
    fresh: BodyConfig | None,
    head: HeadConfig,
    seed: int,
    dropout: float | None,
    lora: Lora | None = None,
    rule: Initialisation | None = None,
) -> Network:
    """A network on the origin's body, with adapters if asked for, or on a fresh one.

    Fresh weights are a function of the seed alone; they start by the rule, or where their modules start them.
    """
    torch.manual_seed(generator_seed(seed, "weights"))
    if origin is None:
        assert fresh is not None
        network = build(fresh, head)
        if rule is not None:
            initialise(network, rule)
        return network
    loaded = origin.body
    if dropout is not None:
        loaded = replace(loaded, config=replace(loaded.config, dropout=dropout))
    network = start_network(loaded, head)
    if lora is not None:
        attach(network, lora)
    return network


def choose_alphabet(origin: Origin | None, choice: str, sequences: Iterable[bytes], place: str) -> Alphabet:
    """The alphabet of the weights to start from, or the one asked for, or the one that the sequences are written in.

    Raises:
        InputError: nucleotides, or what looks like them, where nobody said what they are.
    """
    if origin is not None and (choice != "auto" or origin.alphabet is not PROTEIN):
        return origin.alphabet
    return find_alphabet(choice, sequences, place)


def check_origin(
    origin: Origin | None, alphabet: str, model: str | None, size: str | None, rule: str | None = None
) -> None:
    """Refuse options that contradict the weights to start from.

    Raises:
        InputError: names the option and what the origin is.
    """
    if origin is None:
        return
    if alphabet not in ("auto", origin.alphabet.name):
        raise InputError(
            f"--alphabet {alphabet}: {origin.place} was trained on the {origin.alphabet.name} alphabet; leave it out"
        )
    for option, value in (("--model", model), ("--size", size), ("--initialise", rule)):
        if value is not None:
            raise InputError(f"{option} {value}: the model comes from {origin.place}; leave one of the two out")


def describe(network: Network) -> str:
    """One line: what the network is and how many parameters it has."""
    config = network.body.config
    parameters = sum(parameter.numel() for parameter in network.parameters())
    layouts = {TransformerConfig: "ESM-2-layout transformer", GatedTransformerConfig: "ESM-C-layout transformer"}
    kind = layouts.get(type(config), name_of(type(config)))
    if isinstance(config, BackboneConfig):
        kind = {"bert": "BERT", "t5": "encoder of T5"}[config.family]
    shape = f"width {network.body.width}, depth {config.depth}"
    if isinstance(config, TransformerConfig | GatedTransformerConfig):
        shape += f", {config.num_heads} heads"
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    some = "" if trained == parameters else f", {trained:,} of them trained"
    return f"{kind}, {shape}, {parameters:,} parameters{some}"
