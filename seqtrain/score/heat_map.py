"""Scores of single replacements as a picture: positions from left to right, new letters from top to bottom.

An SVG file that stands alone and suits light and dark pages. Cells of one colour are one path, which takes a fifth of
the bytes of a rectangle for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import Alphabet
from seqtrain.score.mutations import Notation

Array = NDArray[np.float64]
_ORDER = "GAVLIMCPFYWHKRDENQST"
"""Of proteins: small and aliphatic, aromatic, charged, polar."""
_CELL = 11
_PER_LINE = 100
"""Positions side by side; longer proteins go on below."""
_LEFT, _TOP, _MARGIN = 30, 64, 16
_BINS = 8
"""Shades on either side of 0."""
_LIMIT_QUANTILE = 0.98
"""Of the absolute scores: rarer ones get the strongest shade, so that they do not pale all others."""
_LIGHT = ("#f3f4f6", "#b2182b", "#2166ac")
_DARK = ("#2a313c", "#ff8a80", "#6cb6ff")
"""Of 0, of the lowest and of the highest score."""
_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"


def heat_map(scores: Mapping[str, Array], wild_types: Mapping[str, bytes], alphabet: Alphabet, method: str) -> str:
    """The picture of one or several wild types, below each other.

    Args:
        scores: of each wild type (L, A) in nats, the columns in the order of ``alphabet.standard_letters``; nan where
            a replacement was not scored.
        wild_types: the letters of each.
        method: how the scores were made, in words, for the legend.
    """
    values = np.concatenate([np.abs(each[np.isfinite(each)]) for each in scores.values()] or [np.zeros(0)])
    limit = float(np.quantile(values, _LIMIT_QUANTILE)) if len(values) else 1.0
    limit = limit if limit > 0 else 1.0
    rows = _rows(alphabet)
    longest = max((len(letters) for letters in wild_types.values()), default=1)
    width = max(_LEFT + min(longest, _PER_LINE) * _CELL + _MARGIN, 560)
    parts, y = [_legend(limit, method)], float(_TOP)
    for name, values_of_one in scores.items():
        drawn, y = _protein(name, values_of_one, wild_types[name], Notation(alphabet=alphabet), rows, limit, y)
        parts.append(drawn)
    title = f"Scores of single replacements in {', '.join(scores)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y:.0f}" width="{width}" height="{y:.0f}" '
        f'role="img" aria-label="{escape(title, quote=True)}">\n<style>{_style()}</style>\n'
        f'<rect class="ground" width="{width}" height="{y:.0f}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _rows(alphabet: Alphabet) -> NDArray[np.int64]:
    """Columns of the scores in the order in which they are drawn, from top to bottom."""
    letters = alphabet.standard_letters
    if alphabet.name == "protein":
        return np.array([int(np.flatnonzero(letters == ord(letter))[0]) for letter in _ORDER])
    return np.flatnonzero(alphabet.replaceable[letters])


def _protein(
    name: str,
    scores: Array,
    letters: bytes,
    notation: Notation,
    rows: NDArray[np.int64],
    limit: float,
    top: float,
) -> tuple[str, float]:
    """One wild type in lines of positions, and where it ends."""
    standard = notation.alphabet.standard_letters
    labels = [notation.text(int(standard[row])) for row in rows]
    parts = [_text(_LEFT, top + 12, f"{name}, {len(letters):,} letters", "bold")]
    y = top + 40
    for start in range(0, len(letters), _PER_LINE):
        stretch = letters[start : start + _PER_LINE]
        parts.append(_cells(scores[start : start + _PER_LINE, rows], limit, y))
        parts += _wild_type_marks(stretch, standard[rows], y)
        for row, label in enumerate(labels):
            parts.append(_text(_LEFT - 6, y + row * _CELL + 9, label, "small end"))
        bottom = y + len(rows) * _CELL
        for place, letter in enumerate(stretch):
            middle = _LEFT + place * _CELL + _CELL / 2
            number = start + place + 1
            if number == 1 or number % 10 == 0:
                parts.append(_text(middle, y - 5, f"{number}", "small quiet mid"))
            if notation.alphabet.bases_per_letter == 1:
                parts.append(_text(middle, bottom + 10, notation.text(letter), "small mid"))
        y = bottom + 42
    return "".join(parts), y - 10


def _cells(scores: Array, limit: float, top: float) -> str:
    """(positions, letters) as one path per shade; what was not scored stays empty."""
    shades = np.rint(np.clip(scores / limit, -1, 1) * _BINS)
    parts = []
    for shade in range(-_BINS, _BINS + 1):
        places = np.argwhere(shades == shade)
        path = "".join(
            f"M{_LEFT + x * _CELL} {top + y * _CELL:g}h{_CELL}v{_CELL}h-{_CELL}z" for x, y in places.tolist()
        )
        if path:
            parts.append(f'<path class="{_shade(shade)}" d="{path}"/>')
    return "".join(parts)


def _wild_type_marks(letters: bytes, rows: NDArray[np.uint8], top: float) -> list[str]:
    """A dot in the cell of each letter that stands there already."""
    row_of = {int(letter): row for row, letter in enumerate(rows)}
    dots = "".join(
        f"M{_LEFT + (x + 0.5) * _CELL:g} {top + (row_of[letter] + 0.5) * _CELL:g}h0"
        for x, letter in enumerate(letters)
        if letter in row_of
    )
    return [f'<path class="own" d="{dots}"/>'] if dots else []


def _legend(limit: float, method: str) -> str:
    """The scale, with its unit, and what a dot and an empty cell mean."""
    parts = [_text(_LEFT, 20, f"ln p(mutant) − ln p(wild type) in nats, {method}", "bold")]
    for number, shade in enumerate(range(-_BINS, _BINS + 1)):
        parts.append(f'<rect class="{_shade(shade)}" x="{_LEFT + 52 + number * 12}" y="32" width="12" height="12"/>')
    end = _LEFT + 52 + (2 * _BINS + 1) * 12
    parts += [
        _text(_LEFT + 47, 42, f"≤ −{limit:.3g}", "small end"),
        _text(_LEFT + 52 + _BINS * 12 + 6, 56, "0", "small mid"),
        _text(end + 5, 42, f"≥ {limit:.3g}", "small"),
        f'<path class="own" d="M{end + 72} 38h0"/>',
        _text(end + 80, 42, "wild type; empty: not scored", "small"),
    ]
    return "".join(parts)


def _text(x: float, y: float, words: str, classes: str) -> str:
    return f'<text class="{classes}" x="{x:g}" y="{y:g}">{escape(words)}</text>'


def _shade(shade: int) -> str:
    return f"s{shade}" if shade >= 0 else f"n{-shade}"


def _style() -> str:
    quiet = ".quiet{fill:#59636e}"
    return (
        f"text{{font:12px {_FONT};fill:#1f2328}}.bold{{font-weight:600}}.small{{font-size:9px}}{quiet}"
        ".mid{text-anchor:middle}.end{text-anchor:end}.ground{fill:#fff}"
        ".own{fill:none;stroke:#1f2328;stroke-width:3;stroke-linecap:round}"
        f"{_shades(*_LIGHT)}@media (prefers-color-scheme:dark){{text{{fill:#f0f6fc}}.quiet{{fill:#9198a1}}"
        f".ground{{fill:#0d1117}}.own{{stroke:#f0f6fc}}{_shades(*_DARK)}}}"
    )


def _shades(middle: str, low: str, high: str) -> str:
    """CSS classes from the lowest shade to the highest, mixed evenly from three colours."""
    colours: Sequence[tuple[str, int]] = [(low if shade < 0 else high, shade) for shade in range(-_BINS, _BINS + 1)]
    return "".join(f".{_shade(shade)}{{fill:{_mixed(middle, end, abs(shade) / _BINS)}}}" for end, shade in colours)


def _mixed(one: str, other: str, share: float) -> str:
    """#rrggbb between two colours."""
    pairs = zip(bytes.fromhex(one[1:]), bytes.fromhex(other[1:]), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)
