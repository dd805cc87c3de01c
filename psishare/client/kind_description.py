"""The kinds of identifiers, described from their published values."""

from __future__ import annotations

from dataclasses import dataclass

from psishare.identifiers import KINDS, kind, ruleset_digest, ruleset_version
from psishare.identifiers.ruleset import vectors

EXAMPLE_CHARACTERS = 100
"""The longest published value that is shown as an example."""


@dataclass(frozen=True, slots=True)
class Example:
    """A published value of a kind: what it becomes, or why it is rejected, and by which rule."""

    value: str
    canonical: str | None
    reason: str | None
    rule: str


@dataclass(frozen=True, slots=True)
class KindDescription:
    """A kind of identifiers.

    Attributes:
        name: its name, such as ``phone``.
        summary: what it is, in a few words.
        note: what was chosen, and what to mind.
        takes_region: whether a default region completes its values.
        version: the specification's number.
        digest: of what this installation makes of the published values; both parties' must agree.
        examples: published values.
    """

    name: str
    summary: str
    note: str
    takes_region: bool
    version: int
    digest: str
    examples: tuple[Example, ...]


def kind_names() -> tuple[str, ...]:
    """Return the names of all kinds of identifiers."""
    return tuple(KINDS)


def describe_kind(name: str) -> KindDescription:
    """Describe a kind of identifiers.

    Args:
        name: the kind's name, such as ``phone``.

    Returns:
        What it is, its rules' version and digest, and published examples.

    Raises:
        InputError: ``kind_unknown``.
    """
    found = kind(name)
    examples = tuple(
        Example(case.input, case.canonical, case.reason, case.rule)
        for case in vectors(name)
        if case.input and len(case.input) <= EXAMPLE_CHARACTERS and case.region is None
    )
    return KindDescription(
        name=found.name,
        summary=found.summary,
        note=found.note,
        takes_region=found.takes_region,
        version=ruleset_version(name),
        digest=ruleset_digest(name),
        examples=examples,
    )
