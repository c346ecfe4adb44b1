"""The picture: XML with a cell for every score, a dot for every residue, the unit, and colours for light and dark."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from seqtrain.alphabet import DNA, PROTEIN
from seqtrain.score.heat_map import heat_map
from tests.corpora import proteins

SVG = "{http://www.w3.org/2000/svg}"


def drawn(picture: str) -> tuple[ElementTree.Element, dict[str, int]]:
    """The tree, and how many cells or dots the paths of each class have."""
    tree = ElementTree.fromstring(picture)
    counts: dict[str, int] = {}
    for path in tree.iter(f"{SVG}path"):
        name = path.attrib["class"]
        counts[name] = counts.get(name, 0) + path.attrib["d"].count("M")
    return tree, counts


def words(tree: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()) for text in tree.iter(f"{SVG}text")]


def scores(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-2, 2, (length, 20))


def test_every_score_is_a_cell_and_every_residue_a_dot() -> None:
    text, values = proteins([130])[0], scores(130)
    values[:, 3] = np.nan
    picture = heat_map({"a<b": values}, {"a<b": text.encode()}, PROTEIN, "masked-marginal")
    tree, counts = drawn(picture)
    assert sum(count for name, count in counts.items() if name != "own") == 130 * 19
    assert counts["own"] == 130 + 1  # and the one in the legend
    said = words(tree)
    assert "ln p(mutant) − ln p(wild type) in nats, masked-marginal" in said
    assert "a<b, 130 letters" in said and "130" in said and "100" in said
    limit = np.nanquantile(np.abs(values), 0.98)
    assert f"≥ {limit:.3g}" in said and f"≤ −{limit:.3g}" in said
    assert "prefers-color-scheme:dark" in picture


def test_shades_follow_the_scores() -> None:
    values = np.full((1, 20), np.nan)
    values[0, :3] = [-1.0, 0.0, 1.0]
    tree, counts = drawn(heat_map({"p": values}, {"p": b"M"}, PROTEIN, "m"))
    assert {name: counts.get(name) for name in ("n8", "s0", "s8")} == {"n8": 1, "s0": 1, "s8": 1}
    tops = {path.attrib["class"]: float(re.findall(r"[\d.]+", path.attrib["d"])[1]) for path in tree.iter(f"{SVG}path")}
    rows = {text.text: float(text.attrib["y"]) - 9 for text in tree.iter(f"{SVG}text") if text.text in list("ACD")}
    assert {name: tops[name] for name in ("n8", "s0", "s8")} == {"n8": rows["A"], "s0": rows["C"], "s8": rows["D"]}


def test_several_wild_types_stand_below_each_other_within_the_picture() -> None:
    lengths = (7, 130)
    letters = {f"p{i}": text.encode() for i, text in enumerate(proteins(lengths))}
    picture = heat_map({name: scores(len(text)) for name, text in letters.items()}, letters, PROTEIN, "m")
    tree, counts = drawn(picture)
    assert sum(count for name, count in counts.items() if name != "own") == 20 * 137
    width, height = (float(tree.attrib[side]) for side in ("width", "height"))
    for text in tree.iter(f"{SVG}text"):
        assert 0 <= float(text.attrib["x"]) <= width and 0 <= float(text.attrib["y"]) <= height


def test_nothing_scored_and_other_letters() -> None:
    tree, counts = drawn(heat_map({"d": np.full((6, 4), np.nan)}, {"d": b"ACGTNA"}, DNA, "m"))
    assert counts == {"own": 5 + 1}
    assert [text for text in words(tree) if text in list("ACGT")][:4] == ["A", "C", "G", "T"]
