"""Every record read is accounted for: kept, or dropped with a reason; and what was changed, cut or windowed."""

from __future__ import annotations

from dataclasses import dataclass, field

from seqtrain.errors import RunError

HEADER = ("source", "event", "reason", "records", "letters", "examples")
_MAX_EXAMPLES = 3


@dataclass
class Entry:
    """How often one thing happened to the records of one source."""

    records: int = 0
    letters: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class Ledger:
    """Counts by (source, event, reason). Events: read, kept, dropped, changed, noted, cropped, windowed."""

    entries: dict[tuple[str, str, str], Entry] = field(default_factory=dict)

    def add(
        self, source: str, event: str, reason: str = "", *, records: int = 1, letters: int = 0, example: str = ""
    ) -> None:
        """Count records (and letters) of a source under an event."""
        entry = self.entries.setdefault((source, event, reason), Entry())
        entry.records += records
        entry.letters += letters
        if example and len(entry.examples) < _MAX_EXAMPLES:
            entry.examples.append(example)

    def total(self, event: str) -> int:
        """Records under an event, over all sources and reasons."""
        return sum(entry.records for (_, name, _), entry in self.entries.items() if name == event)

    def check(self) -> None:
        """Raise RunError unless read = kept + dropped for every source."""
        for source in {source for source, _, _ in self.entries}:
            counts = {"read": 0, "kept": 0, "dropped": 0}
            for (name, event, _), entry in self.entries.items():
                if name == source and event in counts:
                    counts[event] += entry.records
            if counts["read"] != counts["kept"] + counts["dropped"]:
                raise RunError(f"{source}: the ledger does not add up: {counts}; please report this as a bug")

    def rows(self) -> list[tuple[str, str, str, int, int, str]]:
        """Rows under :data:`HEADER`, in the order of first occurrence within each source."""
        return [
            (source, event, reason, entry.records, entry.letters, "; ".join(entry.examples))
            for (source, event, reason), entry in self.entries.items()
        ]

    def lines(self) -> list[str]:
        """The ledger in words, one line per entry."""
        lines = []
        for source, event, reason, records, letters, examples in self.rows():
            words = f"{source}: {event} {records:,} record{'s' if records != 1 else ''}"
            words += f", {letters:,} letters" if letters else ""
            words += f": {reason}" if reason else ""
            lines.append(words + (f" (such as {examples})" if examples and event != "read" else ""))
        return lines
