"""The folder of a search: what lies in it, and whether it is that of the search at hand."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqtrain.config_files import differences
from seqtrain.errors import InputError
from seqtrain.io.run_directory import write_json_atomically
from seqtrain.tune.locks import taken

FILES = ("study.db", "tune.json", "trials.csv", "tuning.html", "importance.svg", "trials", "best")
"""What a search writes into its folder, beside its locks."""
LOCK, FINISH_LOCK = ".study.lock", ".finish.lock"
_FACTS = "tune.json"


def settle_folder(folder: Path, facts: Mapping[str, Any], *, overwrite: bool) -> None:
    """Begin a search in a folder, or know again the one that is there.

    Raises:
        InputError: the folder holds another search, or something else; somebody is at work on what is overwritten.
    """
    path = folder / _FACTS
    now = json.loads(json.dumps(facts))
    others = [each.name for each in folder.iterdir() if each.name not in (*FILES, LOCK, FINISH_LOCK)]
    if not path.exists() and (others or (folder / "study.db").exists()):
        raise InputError(f"{folder}: holds files but no search; choose another -o")
    if overwrite:
        clear_study(folder)
        (folder / "trials").mkdir()
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            changed = differences(before, now)
        except (ValueError, AttributeError, TypeError) as error:
            raise InputError(f"{path}: damaged ({error}); pass --overwrite to start anew") from None
        if changed:
            more = f" and {len(changed) - 3} more differences" if len(changed) > 3 else ""
            raise InputError(
                f"{folder}: holds a search that differs ({'; '.join(changed[:3])}{more}); choose another -o, or pass "
                "--overwrite to start it anew"
            )
    else:
        write_json_atomically(path, now)


def clear_study(folder: Path) -> None:
    """Remove what a study wrote, and nothing else.

    Raises:
        InputError: another process is at work on one of its trials.
    """
    for lock in (folder / "trials").glob(".*.lock"):
        mine = taken(lock)
        if mine is None:
            raise InputError(f"{folder}: another process is at work on this search; end it before --overwrite")
        mine.close()
    for name in FILES:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what optuna says of parts that it calls experimental, and of its own progress, from the user."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def require_optuna() -> None:
    """Refuse to go on without optuna.

    Raises:
        InputError: it is not installed; names the extra.
    """
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise InputError('tune needs optuna, which is not installed: pip install "seqtrain[tune]"') from None
