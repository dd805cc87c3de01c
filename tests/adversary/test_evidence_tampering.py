"""The tampering campaign: whatever is done to evidence, ``verify`` or ``reconcile`` names it.

An outsider has the file but no key: every change of a bundle is refused, but for the few that take nothing
away. An owner has the log's own keys and writes it anew: what touches an exchange is named, by the log's own
contradictions or beside the peer's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from evidence_stage import exported, join, past, split, trust
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stage import AUTHORITY, PLATFORM, CopiedStage, Stage

from psishare.audit.checkpoint import Checkpoint
from psishare.audit.cosignature import cosign
from psishare.audit.entry import Entry, parse_entry
from psishare.audit.log import Log
from psishare.audit.note import SignedNote, parse_signatures
from psishare.audit.signed_checkpoint import sign_checkpoint
from psishare.errors import ConfigError, VerificationError
from psishare.evidence.bundle import RecordType
from psishare.evidence.export import Scope, export_bundle
from psishare.evidence.quorum import Quorum
from psishare.evidence.reconcile import reconcile
from psishare.evidence.verify import Verdict, verify_evidence
from psishare.keys.note_key import NoteSigner, SignatureType
from psishare.keys.signer import Ed25519Signer, MlDsa44Signer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evidence_stage import Record

PARTIES = st.sampled_from([PLATFORM, AUTHORITY])
SETTINGS = settings(
    max_examples=int(os.environ.get("PSISHARE_TAMPERINGS", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass
class Lived:
    """Two parties with a past, and what each exports of it."""

    stage: Stage
    folder: Path
    bundles: dict[str, Path]
    older: dict[str, bytes]

    def records(self, party: str) -> list[Record]:
        return split(self.bundles[party].read_bytes())

    def entries(self, party: str) -> list[Entry]:
        log = self.stage.side(party).log
        return [parse_entry(data) for data in log.entries(0, log.size)]

    def signers(self, party: str) -> tuple[NoteSigner, NoteSigner]:
        home = self.stage.homes[party]
        return (
            NoteSigner(party, SignatureType.ED25519, home.log_signer()),
            NoteSigner(party, SignatureType.ML_DSA_44, home.pq_signer()),
        )


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(scope="module")
def lived(homes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("tampered")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        stage = CopiedStage(homes, folder / "stage")
        past(stage)
        bundles, older = {}, {}
        for party in (PLATFORM, AUTHORITY):
            bundles[party] = folder / f"{party}.bundle"
            export_bundle(stage.homes[party], bundles[party], Scope(), all_checkpoints=True)
            log = stage.side(party).log
            older[party] = log.checkpoint(log.size - 2)
    yield Lived(stage, folder, bundles, older)
    stage.close()


def wrong_signers(party: str) -> tuple[NoteSigner, NoteSigner]:
    return (
        NoteSigner(party, SignatureType.ED25519, Ed25519Signer.generate()),
        NoteSigner(party, SignatureType.ML_DSA_44, MlDsa44Signer.generate()),
    )


def verified(lived: Lived, data: bytes) -> Verdict:
    path = lived.folder / "tampered.bundle"
    path.write_bytes(data)
    return verify_evidence(path, trust(lived.stage), all_checkpoints=True)


def is_named(lived: Lived, data: bytes) -> bool:
    """Tell whether ``verify`` refuses a bundle, or says that it lacks a mandate."""
    try:
        return verified(lived, data).n_uncovered > 0
    except (VerificationError, ConfigError):
        return True


def change(data: st.DataObject, lived: Lived, party: str) -> list[Record]:
    """Return a bundle's records as an outsider changed them."""
    records = lived.records(party)
    other = lived.records(PLATFORM if party == AUTHORITY else AUTHORITY)
    at = data.draw(st.integers(0, len(records) - 1))
    to = data.draw(st.integers(0, len(records) - 1))
    kind, body = records[at]
    match data.draw(
        st.sampled_from(["drop", "edit", "swap", "repeat", "mix", "truncate", "header"])
    ):
        case "drop":
            del records[at]
        case "edit":
            place = data.draw(st.integers(0, len(body) - 1))
            flip = data.draw(st.integers(1, 255))
            records[at] = kind, body[:place] + bytes([body[place] ^ flip]) + body[place + 1 :]
        case "swap":
            records[at], records[to] = records[to], records[at]
        case "repeat":
            records.insert(to, records[at])
        case "mix":
            same = [record for record in other if record[0] == kind]
            records[at] = data.draw(st.sampled_from(same))
        case "truncate":
            records = records[: at + 1]
            if kind == RecordType.ENTRY:
                n_entries = sum(each == RecordType.ENTRY for each, _body in records)
                told = len(lived.entries(party))
                records[0] = (
                    RecordType.HEADER,
                    records[0][1].replace(b'"entries":%d' % told, b'"entries":%d' % n_entries),
                )
        case _:
            records[0] = records[0][0], records[0][1].replace(party.encode(), b"other.example")
    return records


def without_date(records: list[Record]) -> list[Record]:
    """Leave out of a header when the bundle was exported, which is told and not proved."""
    return [
        (
            kind,
            re.sub(rb'"created":"[0-9TZ:-]{20}"', b"", body) if kind == RecordType.HEADER else body,
        )
        for kind, body in records
    ]


def without_cosignatures(records: list[Record], own: set[bytes]) -> list[Record]:
    """Leave out of notes what others signed: whoever wants it there verifies with a policy."""
    bare = []
    for kind, body in records:
        place = 1 + 32 * body[0] if kind == RecordType.CHECKPOINT and body else 0
        kept = body
        if kind in {RecordType.HEAD, RecordType.CHECKPOINT}:
            with contextlib.suppress(VerificationError):
                note = SignedNote.parse(body[place:])
                signatures = tuple(s for s in note.signatures if s.key_id in own)
                kept = body[:place] + SignedNote(note.text, signatures).serialise()
        bare.append((kind, kept))
    return bare


def takes_nothing_away(
    before: list[Record], after: list[Record], others: list[Record], own: set[bytes]
) -> bool:
    """Tell whether only what proves nothing was changed: which cards and older checkpoints there are."""
    cards = {record for record in others if record[0] == RecordType.CARD}
    before = without_cosignatures(without_date(before), own)
    after = without_cosignatures(without_date(after), own)
    idle = {RecordType.CARD, RecordType.CHECKPOINT}
    kept = [record for record in after if record[0] in idle]
    return (
        [record for record in before if record[0] not in idle]
        == [record for record in after if record[0] not in idle]
        and set(kept) <= set(before) | cards
        and after == sorted(after, key=lambda record: record[0])
    )


@given(data=st.data(), party=PARTIES)
@SETTINGS
def test_whatever_an_outsider_changes_in_a_bundle_is_named(
    lived: Lived, data: st.DataObject, party: str
) -> None:
    before, after = lived.records(party), change(data, lived, party)
    others = lived.records(PLATFORM if party == AUTHORITY else AUTHORITY)
    own = {key.key_id for key in lived.stage.homes[party].card.verifiers()}
    if after == before or takes_nothing_away(before, after, others, own):
        return
    assert is_named(lived, join(after)), "a changed bundle verifies"


@given(data=st.data(), party=PARTIES)
@SETTINGS
def test_whatever_is_cut_off_or_appended_is_named(
    lived: Lived, data: st.DataObject, party: str
) -> None:
    whole = lived.bundles[party].read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert is_named(lived, whole[:cut])
    assert is_named(lived, whole + data.draw(st.binary(min_size=1, max_size=9)))


def with_head(lived: Lived, party: str, head: bytes) -> bytes:
    return join(
        [(kind, head if kind == RecordType.HEAD else body) for kind, body in lived.records(party)]
    )


@pytest.mark.parametrize("party", [PLATFORM, AUTHORITY])
def test_heads_that_are_old_stripped_resigned_or_forked_are_named(lived: Lived, party: str) -> None:
    head = next(body for kind, body in lived.records(party) if kind == RecordType.HEAD)
    note = SignedNote.parse(head)
    checkpoint = Checkpoint.parse_text(note.text)
    fork = Checkpoint(party, checkpoint.tree_size, hashlib.sha256(b"another tree").digest())
    larger = Checkpoint(party, checkpoint.tree_size + 1, checkpoint.root_hash)
    own = [s for s in note.signatures if s.name == party]
    heads = {
        "old": lived.older[party],
        "one signature": SignedNote(note.text, (own[0],)).serialise(),
        "the other signature": SignedNote(note.text, (own[1],)).serialise(),
        "wrong keys": sign_checkpoint(checkpoint, *wrong_signers(party), time=9).serialise(),
        "fork": sign_checkpoint(fork, *lived.signers(party), time=9).serialise(),
        "larger": sign_checkpoint(larger, *lived.signers(party), time=9).serialise(),
    }
    assert verified(lived, with_head(lived, party, head)).n_uncovered == 0
    for name, other in heads.items():
        with pytest.raises(VerificationError):
            verified(lived, with_head(lived, party, other))
        assert is_named(lived, with_head(lived, party, other)), name


def test_a_cosignature_that_is_stripped_or_forged_is_missed_by_a_policy(lived: Lived) -> None:
    cosigner = lived.stage.homes[AUTHORITY].card.cosigner_keys()[0]
    own = lived.stage.homes[PLATFORM].card.verifiers()[0]
    head = next(body for kind, body in lived.records(PLATFORM) if kind == RecordType.HEAD)
    note = SignedNote.parse(head)
    checkpoint = Checkpoint.parse_text(note.text)
    policy = Quorum(f"log {own.encode()}\nwitness a {cosigner.encode()}\nquorum a\n".encode())
    bare = SignedNote(note.text, tuple(s for s in note.signatures if s.name == PLATFORM))
    home = lived.stage.homes[AUTHORITY]
    signers = [
        NoteSigner(AUTHORITY, SignatureType.ED25519_COSIGNATURE, home.log_signer()),
        NoteSigner(AUTHORITY, SignatureType.ML_DSA_44, home.pq_signer()),
    ]
    policy.require_on(
        bare.with_signatures(parse_signatures(cosign(checkpoint, signers, time=9))), checkpoint
    )
    with pytest.raises(VerificationError) as caught:
        policy.require_on(bare, checkpoint)
    assert caught.value.reason == "quorum_missing"
    other = Checkpoint(PLATFORM, checkpoint.tree_size, bytes(32))
    forged = bare.with_signatures(parse_signatures(cosign(other, signers, time=9)))
    with pytest.raises(VerificationError) as caught:
        policy.require_on(forged, checkpoint)
    assert caught.value.reason == "cosignature_invalid"


# An owner with the log's own keys.


def is_of_exchange(entry: Entry) -> bool:
    return entry.type.startswith("exchange.")


def strange(data: st.DataObject, entry: Entry) -> Entry:
    """Return an entry with a field of it that another entry of its type may well have."""
    fields = {
        name: value
        for name, value in entry.fields.items()
        if name != "type" and value is not None and not isinstance(value, dict)
    }
    name = data.draw(st.sampled_from(sorted(fields)))
    value: Any = fields[name]
    if isinstance(value, int):
        value += data.draw(st.sampled_from([1, 7]))
    elif name in {"protocol", "output"}:
        others = {"protocol": ["oprf", "ecdh", "openmined"], "output": ["matches", "count", "both"]}
        value = next(other for other in others[name] if other != value)
    elif len(value) == 64:
        value = ("0" if value[0] != "0" else "1") + value[1:]
    else:
        first, other = ("A", "B") if value[0].isupper() else ("x", "y")
        value = (first if value[0] != first else other) + value[1:]
    return entry.model_copy(update={name: value})


def rewritten(data: st.DataObject, entries: list[Entry]) -> list[Entry]:
    """Return a log's entries as its owner would rather have them, an exchange or more told otherwise."""
    at = data.draw(st.sampled_from([i for i, e in enumerate(entries) if is_of_exchange(e)]))
    told = getattr(entries[at], "exchange_id")  # noqa: B009  every entry of an exchange has one
    match data.draw(
        st.sampled_from(["drop", "hide", "edit", "truncate", "repeat", "late", "first"])
    ):
        case "drop":
            return entries[:at] + entries[at + 1 :]
        case "hide":
            return [entry for entry in entries if getattr(entry, "exchange_id", None) != told]
        case "edit":
            return [*entries[:at], strange(data, entries[at]), *entries[at + 1 :]]
        case "truncate":
            return entries[:at]
        case "repeat" if entries[at].type != "exchange.refused":
            return [*entries[: at + 1], entries[at], *entries[at + 1 :]]
        case "late" if entries[at].type in {"exchange.opened", "exchange.refused"}:
            # An end may be entered late, where the disk was full or the process gone.
            late = entries[at].model_copy(update={"time": "2035-01-01T00:00:00Z"})
            return [*entries[:at], late, *entries[at + 1 :]]
        case "first" if entries[at].type == "exchange.refused":
            # What takes longer may have begun earlier: exchanges go on at the same time.
            return [entries[0], entries[at], *entries[1:at], *entries[at + 1 :]]
        case _:
            return [entry for entry in entries if getattr(entry, "exchange_id", None) != told]


@given(data=st.data(), party=PARTIES)
@SETTINGS
def test_whatever_an_owner_tells_otherwise_of_an_exchange_is_named(
    lived: Lived, data: st.DataObject, party: str
) -> None:
    before = lived.entries(party)
    after = rewritten(data, before)
    folder = lived.folder / "rewritten"
    shutil.rmtree(folder, ignore_errors=True)
    signer, pq_signer = lived.signers(party)
    log = Log.create(folder, origin=party, signer=signer, pq_signer=pq_signer)
    try:
        log.append(after[0])
        log.append_all([parse_entry(entry.encode()) for entry in after[1:]])
    except VerificationError:
        # Not even an entry any more.
        return
    (other,) = {PLATFORM, AUTHORITY} - {party}
    try:
        result = reconcile(folder, lived.bundles[other], trust(lived.stage))
    except VerificationError:
        return
    assert result.findings, "a log that was rewritten tells the same story"


def test_a_copy_that_was_forked_is_named_beside_the_other(lived: Lived, tmp_path: Path) -> None:
    entries = lived.entries(PLATFORM)
    signer, pq_signer = lived.signers(PLATFORM)
    log = Log.create(tmp_path / "fork", origin=PLATFORM, signer=signer, pq_signer=pq_signer)
    log.append(entries[0])
    log.append_all([*entries[1:-1], entries[-1].model_copy(update={"salt": "0" * 32})])
    [finding] = reconcile(tmp_path / "fork", lived.bundles[PLATFORM], trust(lived.stage)).findings
    assert (finding.finding, finding.party) == ("log_forked", PLATFORM)


def test_a_bundle_of_one_exchange_with_entries_of_another_is_named(
    lived: Lived, tmp_path: Path
) -> None:
    first = next(e for e in lived.entries(PLATFORM) if e.type == "exchange.opened")
    exchange_id = first.fields["exchange_id"]
    path = exported(lived.stage, PLATFORM, tmp_path / "one", Scope(exchange_id=exchange_id))
    records = split(path.read_bytes())
    assert verified(lived, join(records)).n_exchanges == 1
    closed = next(body for _kind, body in records if b"exchange.closed" in body)
    without = [record for record in records if record[1] != closed]
    n_entries = sum(kind == RecordType.ENTRY for kind, _body in without)
    header = records[0][1].replace(b'"entries":%d' % (n_entries + 1), b'"entries":%d' % n_entries)
    cut = verified(lived, join([(RecordType.HEADER, header), *without[1:]]))
    [told] = cut.exchanges
    assert told.ending.value == "open"
    path.write_bytes(join([(RecordType.HEADER, header), *without[1:]]))
    [finding] = reconcile(path, lived.bundles[AUTHORITY], trust(lived.stage)).findings
    assert (finding.finding, finding.party) == ("exchange_cut_short", PLATFORM)
