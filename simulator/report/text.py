"""Text as a page has room for it: without control characters, short, in columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_LABEL_MAX = 40


def clean(text: str) -> str:
    """The text without control characters, which could move the cursor or forge lines."""
    return "".join("?" if unicodedata.category(c) in ("Cc", "Cf") else c for c in text)


def short(label: str) -> str:
    """A label as a table has room for it, without control characters."""
    text = clean(label)
    return text if len(text) <= _LABEL_MAX else text[: _LABEL_MAX - 1] + "…"


def spoken(name: str) -> str:
    """A cause or a reason as people read it: "pool db" of "pool:db"."""
    return clean(name.replace(":", " ", 1))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, first column left, the others right; the head is not indented as far."""
    body = [[f"  {row[0]}", *row[1:]] for row in rows]
    every = [list(head), *body]
    widths = [max(len(row[i]) for row in every) for i in range(len(head))]
    return [
        (
            "  "
            + row[0].ljust(widths[0])
            + "".join(
                f"  {cell:>{max(width, 6)}}"
                for cell, width in zip(row[1:], widths[1:], strict=True)
            )
        ).rstrip()
        for row in every
    ]
