"""Models by name from the Hugging Face hub: settings, safetensors and vocabularies, at one commit, never code."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqtrain.errors import InputError
from seqtrain.models.weights import INDEX, PICKLES, WEIGHTS, read_json

_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SETTINGS = ("config.json", INDEX, "vocab.txt", "spiece.model", "tokenizer.json", "tokenizer_config.json")
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """A model of the hub, as it lies in the cache of this machine."""

    name: str
    commit: str
    """The hash that the revision was resolved to."""
    folder: Path


def is_hub_name(text: str) -> bool:
    """Whether a text is written like a name on the hub, owner/model."""
    return _NAME.fullmatch(text) is not None


def fetch(name: str, revision: str | None, say: Callable[[str], None]) -> HubModel:
    """A model of the hub, from the cache where it is there already.

    A commit that lies complete in the cache is taken without asking the hub. Any other revision is resolved by the hub,
    or by what the cache last knew where the hub cannot be reached.

    Args:
        name: owner/model.
        revision: branch, tag or commit; None for the main branch.
        say: takes a line before anything is downloaded.

    Raises:
        InputError: no such model or revision, pickled weights only, or neither the hub nor the cache has it.
    """
    try:
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
    except ImportError:
        raise InputError(f"{name}: huggingface_hub is not installed; pip install huggingface_hub") from None
    if revision is not None and _COMMIT.fullmatch(revision):
        cached = _cached(name, revision)
        if cached is not None:
            return cached
    hub = str(constants.ENDPOINT)
    try:
        found = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=_TIMEOUT_SECONDS)
    except RevisionNotFoundError:
        raise InputError(f"{name}: has no revision {revision!r} on {hub}; check --revision") from None
    except RepositoryNotFoundError:
        raise InputError(
            f"{name}: no such folder here, and {hub} shows no such model; check the spelling, or log in with "
            "`hf auth login` if it is private or gated"
        ) from None
    except Exception as error:  # the library that carries requests changes, and its errors with it
        cached = _cached(name, revision or "main")
        if cached is not None:
            say(f"{name}: {hub} cannot be asked, so its revision is what the cache knows, {cached.commit[:12]}")
            return cached
        why = "answered" if isinstance(error, HfHubHTTPError) else "cannot be reached"
        raise InputError(
            f"{name}: no such folder here, {hub} {why} ({_one_line(error)}), and the cache {constants.HF_HUB_CACHE} "
            "does not hold it; fetch it once with a connection, or give a folder"
        ) from None
    return _downloaded(name, revision or "main", found, say)


def _downloaded(name: str, revision: str, found: Any, say: Callable[[str], None]) -> HubModel:
    """The files of a model as the hub describes it, those that are in the cache from there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    commit = str(found.sha)
    sizes = {str(file.rfilename): int(file.size or 0) for file in found.siblings or []}
    files = _wanted(name, commit, list(sizes))
    if not sys.stderr.isatty():
        disable_progress_bars()
    if _cached(name, commit) is None:
        num_bytes = sum(sizes[file] for file in files)
        say(f"{name}: fetching {len(files)} files, {num_bytes / 1e6:,.1f} MB, of revision {commit}")
    try:
        # By the revision's own name, so that the cache knows what it means while the hub is away.
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=files))
    except Exception as error:  # as above, and a full disk
        raise InputError(f"{name}: not fetched ({_one_line(error)}); start again to continue") from None
    return HubModel(name=name, commit=folder.name, folder=folder)


def _wanted(name: str, commit: str, files: Sequence[str]) -> list[str]:
    """The files of a model that are read here: nothing in folders, no code, no pickles."""
    weights = [WEIGHTS] if WEIGHTS in files else [file for file in files if _SHARD.fullmatch(file)]
    if not weights:
        pickles = [file for file in files if any(Path(file).match(pattern) for pattern in PICKLES)]
        if pickles:
            raise InputError(
                f"{name}: has only pickled weights ({pickles[0]}) at revision {commit[:12]}, which can run code when "
                "read, so they are refused; where a pull request of the model offers model.safetensors, name it as "
                "--revision refs/pr/NUMBER"
            )
        raise InputError(f"{name}: has no {WEIGHTS} at revision {commit[:12]}; choose another model or --revision")
    return [file for file in files if file in _SETTINGS] + weights


def _cached(name: str, revision: str) -> HubModel | None:
    """A model that lies complete in the cache."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=["config.json"]))
    except (OSError, ValueError):
        return None
    if not (folder / "config.json").exists():
        return None
    if not (folder / WEIGHTS).exists():
        if not (folder / INDEX).exists():
            return None
        shards = dict(read_json(folder / INDEX).get("weight_map") or {}).values()
        if not all((folder / str(shard)).exists() for shard in shards):
            return None
    return HubModel(name=name, commit=folder.name, folder=folder)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
