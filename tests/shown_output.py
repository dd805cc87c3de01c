"""Compares what a document shows with what a program printed, but for what is new in every run.

Ids, digests, times, fingerprints, ports and durations vary; they are replaced by their names on both
sides. A line ``...`` in the document stands for any lines.
"""

from __future__ import annotations

import difflib
import re

ANY_LINES = "..."
VARYING = (
    (r"\b\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", "TIME"),
    (r"\b\d{4}-\d{2}-\d{2} \d{2}:\d{2}\b", "TIME"),
    (r"\b\d{4}-\d{2}-\d{2}\b", "DATE"),
    (r"\b[0-9a-f]{64}\b", "DIGEST"),
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"\b[0-9a-f]{16}\b", "DIGEST"),
    (r"\b(?=[0-9a-f]*\d)[0-9a-f]{12}\b", "ID"),
    (r"\b127\.0\.0\.1:\d+", "ADDRESS"),
    (r"\b\d+(?:\.\d)? s\b", "SECONDS"),
    (r"\b[\d,]+ MiB are free", "SIZE are free"),
    (r", in /\S+/", ", in FOLDER/"),
    (r"(?m)^(fingerprint )?( *)[a-z]{3,8}(?: +[a-z]{3,8}){3}$", r"\1WORDS"),
    (r"(?m)^home .*/", "home FOLDER/"),
    (r"─+", "─"),
    (r" +", " "),
    (r"(?m) $", ""),
)
"""In this order: the longer before what could be a part of it, spaces last."""


def without_varying(text: str) -> list[str]:
    """Return the lines of a text, with what varies named instead."""
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text)
    return [line.strip() for line in text.strip().splitlines()]


def assert_shown(shown: str, printed: str) -> None:
    """Fail where a document does not show what was printed."""
    expected, found = without_varying(shown), without_varying(printed)
    if ANY_LINES not in expected:
        assert found == expected, "\n".join(difflib.ndiff(expected, found))
        return
    at = expected.index(ANY_LINES)
    tail = expected[at + 1 :]
    assert ANY_LINES not in tail, "one `...` a command is enough"
    assert found[:at] == expected[:at]
    assert len(found) >= at + len(tail)
    assert found[len(found) - len(tail) :] == tail
