"""A log is read with its signatures verified many at a time: the same verdicts, and the same first fault."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import pytest
from evidence_stage import exported, past, trust
from stage import AUTHORITY, PLATFORM, CopiedStage, Stage

from psishare.audit.entry import Entry, ExchangeClosed, ExchangeOpened
from psishare.errors import ConfigError, VerificationError
from psishare.evidence import story as module
from psishare.evidence.mandate_book import MandateBook
from psishare.evidence.source import open_evidence
from psishare.evidence.story import ExchangeVerdict, Story

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Entries = list[tuple[int, Entry]]


@pytest.fixture(scope="module")
def lived(homes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Entries]]:
    folder = tmp_path_factory.mktemp("story")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        stage = CopiedStage(homes, folder / "stage")
        past(stage)
    path = exported(stage, PLATFORM, folder / "all.bundle")
    with open_evidence(path, trust(stage)) as evidence:
        entries = list(evidence.entries())
    yield stage, entries
    stage.close()


def new_story(stage: Stage, *, without: str | None = None) -> Story:
    cards = {name: card for name, card in trust(stage).items() if name != without}
    return Story(stage.homes[PLATFORM].card, cards, MandateBook(cards))


def flipped(encoded: str) -> str:
    data = base64.b64decode(encoded)
    return base64.b64encode(bytes([data[0] ^ 1]) + data[1:]).decode()


def places(entries: Entries, kind: type[Entry]) -> list[int]:
    return [index for index, entry in entries if isinstance(entry, kind)]


def edited(entries: Entries, at: int, **changes: str) -> Entries:
    return [
        (index, entry.model_copy(update=changes) if index == at else entry)
        for index, entry in entries
    ]


def read_until_fault(
    story: Story, entries: Iterable[tuple[int, Entry]]
) -> tuple[list[ExchangeVerdict], VerificationError]:
    verdicts: list[ExchangeVerdict] = []
    with pytest.raises(VerificationError) as caught:
        verdicts.extend(story.read(entries))
    return verdicts, caught.value


@pytest.mark.parametrize("at_once", [1, 3, 256])
def test_reading_many_at_a_time_tells_what_one_by_one_tells(
    lived: tuple[Stage, Entries], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    stage, entries = lived
    monkeypatch.setattr(module, "SETTLED_AT_ONCE", at_once)
    slowly = new_story(stage)
    one_by_one = [verdict for each in entries if (verdict := slowly.take(*each)) is not None]
    assert list(new_story(stage).read(iter(entries))) == one_by_one
    assert len(one_by_one) == 3


SIGNATURES = [
    (ExchangeOpened, "offer_signature", AUTHORITY),
    (ExchangeOpened, "answer_signature", PLATFORM),
    (ExchangeClosed, "authority_signature", AUTHORITY),
    (ExchangeClosed, "platform_signature", PLATFORM),
]


@pytest.mark.parametrize("at_once", [1, 256])
@pytest.mark.parametrize(("kind", "name", "party"), SIGNATURES)
def test_every_signature_is_verified_and_no_verdict_rests_on_a_wrong_one(
    lived: tuple[Stage, Entries],
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
    kind: type[Entry],
    name: str,
    party: str,
) -> None:
    stage, entries = lived
    monkeypatch.setattr(module, "SETTLED_AT_ONCE", at_once)
    for at in places(entries, kind):
        wrong = edited(entries, at, **{name: flipped(getattr(dict(entries)[at], name))})
        verdicts, error = read_until_fault(new_story(stage), wrong)
        assert error.message.startswith(f"entry {at} of the log of {PLATFORM}: ")
        assert (error.reason, error.party) == ("signature_invalid", party)
        assert all(verdict.index < at for verdict in verdicts)
        slowly = new_story(stage)
        for index, entry in wrong[:at]:
            slowly.take(index, entry)
        with pytest.raises(VerificationError, match=f"entry {at} of"):
            slowly.take(*wrong[at])


def test_a_wrong_signature_is_named_before_what_is_wrong_after_it(
    lived: tuple[Stage, Entries],
) -> None:
    stage, entries = lived
    at = places(entries, ExchangeOpened)[0]
    wrong = edited(entries, at, offer_signature=flipped(entries[at][1].fields["offer_signature"]))

    def breaks_off() -> Iterator[tuple[int, Entry]]:
        yield from wrong[: at + 2]
        raise VerificationError("the next entry is malformed", mend="", reason="entry_malformed")

    later = places(entries, ExchangeClosed)[1]
    contradicts = edited(wrong, later, exchange_id="ab" * 32)
    same_entry = edited(wrong, at, kind="email")
    for entries_read in (breaks_off(), contradicts, same_entry):
        _verdicts, error = read_until_fault(new_story(stage), entries_read)
        assert error.message.startswith(f"entry {at} of")
        assert error.reason == "signature_invalid"


def test_what_is_wrong_before_a_wrong_signature_is_named_first(
    lived: tuple[Stage, Entries],
) -> None:
    stage, entries = lived
    first, second = places(entries, ExchangeClosed)[:2]
    wrong = edited(entries, first, receipt_sha256="ab" * 32)
    signature = flipped(entries[second][1].fields["platform_signature"])
    _verdicts, error = read_until_fault(
        new_story(stage), edited(wrong, second, platform_signature=signature)
    )
    assert (error.reason, error.message.split(":")[0]) == (
        "log_contradicts",
        f"entry {first} of the log of {PLATFORM}",
    )


def test_a_card_that_lacks_is_named_after_a_wrong_signature_before_it(
    lived: tuple[Stage, Entries],
) -> None:
    stage, entries = lived
    with pytest.raises(ConfigError) as caught:
        list(new_story(stage, without=AUTHORITY).read(iter(entries)))
    assert (caught.value.reason, caught.value.party) == ("card_missing", AUTHORITY)
