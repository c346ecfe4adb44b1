"""Outputs are looked at before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqtrain.errors import InputError
from seqtrain.io.outputs import check_output


def test_what_can_be_written_passes(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("a\n")
    check_output(tmp_path / "out.csv", source)
    check_output("-", source)
    check_output(source)


def test_the_input_is_not_written_over(tmp_path: Path) -> None:
    source, other = tmp_path / "in.csv", tmp_path / "link.csv"
    source.write_text("a\n")
    other.symlink_to(source)
    for name in (source, other, tmp_path / "." / "in.csv"):
        with pytest.raises(InputError, match=r"is the input too, which would be lost"):
            check_output(name, source)


def test_a_missing_folder_is_named_with_its_option(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--heat-map .*: there is no folder .*nowhere; make it first"):
        check_output(tmp_path / "nowhere" / "x.svg", option="--heat-map")
