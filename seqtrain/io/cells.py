"""What the text in a cell of a table is."""

from __future__ import annotations

_MISSING = ("nan", "na", "n/a", "null", "none")


def is_missing(cell: str) -> bool:
    """True for the words that programs write where they have no number."""
    return cell.strip().lower() in _MISSING


def as_number(cell: str) -> float | None:
    """The number that a cell holds, infinity and nan among them, or None.

    Python reads 1_2 as 12; in a table that is a name, such as that of a cluster and its part.
    """
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None
