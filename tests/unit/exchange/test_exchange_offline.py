"""Across an air gap an exchange comes to the same result, entries and receipt as over a network."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from air_gap import AirGap
from hostile_exchange import entries, verified
from stage import AUTHORITY, PLATFORM, Stage

from psishare.audit.cosignature import verify_cosignature
from psishare.audit.entry import parse_entry
from psishare.audit.note import SignedNote
from psishare.audit.signed_checkpoint import verify_checkpoint
from psishare.errors import AuditError, AuthorisationError
from psishare.evidence.reconcile import reconcile
from psishare.evidence.verify import verify_log
from psishare.exchange.document import write_time
from psishare.exchange.parcels import Outgoing, Parcels
from psishare.psi import suite
from psishare.psi.suite import Output
from psishare.transport.parcel import PLAIN_VERSION

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.audit.entry import Entry
    from psishare.exchange.offering import Offering
    from psishare.transport import wire_pb2 as wire

OURS = [b"a%d" % i for i in range(50)]
THEIRS = [b"a%d" % i for i in range(30, 90)]
COMMON = list(range(30, 50))
WAYS = [
    (suite.Protocol.OPRF, Output.MATCHES),
    (suite.Protocol.ECDH, Output.MATCHES),
    (suite.Protocol.ECDH, Output.COUNT),
    (suite.Protocol.ECDH, Output.BOTH),
    (suite.Protocol.OPENMINED, Output.MATCHES),
]
VARYING = {
    "answer",
    "answer_signature",
    "authority_signature",
    "exchange_id",
    "last_signature",
    "mandate_id",
    "mandate_sha256",
    "offer",
    "offer_signature",
    "opening_commitment",
    "operator_commitment",
    "peer_opening_commitment",
    "platform_signature",
    "receipt",
    "receipt_sha256",
}
"""What is fresh, or follows from what is fresh, in every exchange."""


def offering(stage: Stage, protocol: suite.Protocol, values: list[bytes]) -> Offering:
    return stage.encode(values) if protocol is suite.Protocol.OPRF else stage.listing(values)


def told(stage: Stage, party: str) -> list[dict[str, Any]]:
    """Return the entries of a party's log without what differs from one exchange to the next."""
    return [steady(entry) for entry in entries(stage, party)]


def steady(entry: Entry) -> dict[str, Any]:
    fields = {name: value for name, value in entry.fields.items() if name not in VARYING}
    return {"type": entry.type, **fields} | {"time": None, "salt": None}


def receipt(outcome: Any) -> dict[str, Any]:
    """Return a receipt without what is fresh in it; transcripts follow from the seed."""
    document = outcome.receipt.receipt.model_dump(mode="json")
    for name in ("requests", "elements", "answers", "returns"):
        document[name].pop("transcript")
    fresh = {"exchange_id", "mandate_id", "mandate_sha256", "answer_sha256", "opened", "closed"}
    return {name: value for name, value in document.items() if name not in fresh}


@pytest.mark.parametrize(("protocol", "output"), WAYS)
def test_files_come_to_the_same_as_a_network(
    stage: Stage, protocol: suite.Protocol, output: Output, tmp_path: Path
) -> None:
    """Entry by entry, field by field, on one stage: first over a channel, then by files."""
    served = offering(stage, protocol, THEIRS)
    logs = {party: len(entries(stage, party)) for party in (PLATFORM, AUTHORITY)}
    network = stage.exchange(
        stage.responder(served), stage.ask(OURS, protocol=protocol, output=output)
    )
    over_network = {party: told(stage, party)[logs[party] :] for party in logs}
    logs = {party: len(entries(stage, party)) for party in logs}
    gap = AirGap(stage, tmp_path, served)
    ask = stage.ask(OURS, protocol=protocol, output=output)
    if protocol is suite.Protocol.OPRF:
        gap.synchronised(ask)
    outcome = gap.exchange(ask)
    by_files = {party: told(stage, party)[logs[party] :] for party in logs}
    if protocol is suite.Protocol.OPRF:
        # The set was here already: over the network it was not delivered a second time.
        over_network[AUTHORITY] = [
            e for e in over_network[AUTHORITY] if e["type"] != "dataset.delivered"
        ]
    assert by_files == over_network
    assert receipt(outcome) == receipt(network)
    assert outcome.elements == network.elements == len(THEIRS)
    if output is Output.COUNT:
        assert len(outcome.matched) == len(COMMON)
    else:
        assert outcome.matched.to_pylist() == network.matched.to_pylist() == COMMON
    assert [m.to_pylist() for m in gap.matched] == (
        [list(range(20))] if output is Output.BOTH else []
    )
    outcome.receipt.verify(
        authority_key=stage.homes[AUTHORITY].card.log_key,
        platform_key=stage.homes[PLATFORM].card.log_key,
    )
    verified(stage)


def test_an_auditor_takes_an_opening_that_came_days_later(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The authority's entries follow the files; over a connection such a time would be a lie."""
    gap = AirGap(stage, tmp_path, stage.listing(THEIRS))
    answer = gap.answer(gap.request(stage.ask(OURS, protocol=suite.Protocol.ECDH))).parcel
    refused = stage.ask(OURS, protocol=suite.Protocol.ECDH, mandate=stage.envelope(kinds=["email"]))
    refusal = gap.answer(gap.request(refused)).parcel
    later = datetime.now(UTC) + timedelta(hours=5)
    with monkeypatch.context() as patch:
        patch.setattr("psishare.audit.entry._now", lambda: write_time(later))
        receipt = gap.finish(OURS, answer)
        with pytest.raises(AuthorisationError):
            gap.finish(OURS, refusal)
    gap.release(OURS, gap.confirm(receipt).parcel)
    verified(stage)
    trust = {name: home.card for name, home in stage.homes.items()}
    logs = [stage.homes[party].log_path for party in (AUTHORITY, PLATFORM)]
    assert reconcile(logs[0], logs[1], trust).findings == ()


# Cosignatures.


def cosigned(stage: Stage, party: str) -> set[str]:
    """Return the types of the last entries of those heads of a log that the other party has cosigned."""
    log, (other,) = stage.side(party).log, {PLATFORM, AUTHORITY} - {party}
    card = stage.homes[other].card
    last = set()
    for size in range(1, log.size + 1):
        with contextlib.suppress(AuditError):
            note = SignedNote.parse(log.checkpoint(size))
            checkpoint = verify_checkpoint(note.serialise(), stage.homes[party].card.verifiers())
            lines = [s for s in note.signatures if s.name == other]
            if lines:
                for key, line in zip(card.cosigner_keys(), lines, strict=True):
                    verify_cosignature(checkpoint, key, line)
                last.add(parse_entry(log.entry(size - 1)).type)
    return last


def test_heads_are_cosigned_in_the_parcels_of_the_same_exchange_and_of_the_next(
    stage: Stage, tmp_path: Path
) -> None:
    gap = AirGap(stage, tmp_path, stage.listing(THEIRS))
    gap.exchange(stage.ask(OURS, protocol=suite.Protocol.ECDH))
    assert cosigned(stage, PLATFORM) == {"exchange.opened"}
    # The head that came with the request, too.
    assert cosigned(stage, AUTHORITY) == {"log.created", "exchange.opened"}
    gap.answer(gap.request(stage.ask(OURS, protocol=suite.Protocol.ECDH)))
    assert cosigned(stage, PLATFORM) == {"exchange.opened", "exchange.closed"}
    trust = {name: home.card for name, home in stage.homes.items()}
    verdict = verify_log(stage.homes[PLATFORM].log_path, trust)
    assert verdict.log.cosigners[AUTHORITY] > 0


@pytest.mark.parametrize("output", [Output.MATCHES, Output.COUNT, Output.BOTH])
def test_parcels_that_go_on_from_version_1_are_of_version_1(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: Output
) -> None:
    """A party that knows no cosignatures in parcels is answered so that it can read it."""
    gap = AirGap(stage, tmp_path, stage.listing(THEIRS))
    with monkeypatch.context() as patch:
        patch.setattr("psishare.exchange.offline_authority.VERSION", PLAIN_VERSION)
        request = gap.request(stage.ask(OURS, protocol=suite.Protocol.ECDH, output=output))
    answer = gap.answer(request).parcel
    receipt = gap.finish(OURS, answer)
    confirmation = gap.confirm(receipt).parcel
    assert len(gap.release(OURS, confirmation).matched) == len(COMMON)
    for path in (request, answer, receipt, confirmation):
        assert path.read_bytes().startswith(b"psishare-parcel/v1\n")
    assert cosigned(stage, PLATFORM) == cosigned(stage, AUTHORITY) == set()


@pytest.mark.parametrize("wrong", ["lines", "size"])
def test_a_wrong_cosignature_is_not_kept_and_holds_no_result_back(
    stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wrong: str,
) -> None:
    honest = Outgoing.add_cosignature

    def forged(out: Outgoing, cosignature: wire.Cosignature) -> None:
        if wrong == "lines":
            cosignature.lines = cosignature.lines[:20] + b"AAAA" + cosignature.lines[24:]
        else:
            cosignature.tree_size += 10_000
        honest(out, cosignature)

    monkeypatch.setattr(Outgoing, "add_cosignature", forged)
    gap = AirGap(stage, tmp_path, stage.listing(THEIRS))
    outcome = gap.exchange(stage.ask(OURS, protocol=suite.Protocol.ECDH))
    assert outcome.matched.to_pylist() == COMMON
    assert cosigned(stage, PLATFORM) == cosigned(stage, AUTHORITY) == set()
    assert sum("is not kept" in message for message in caplog.messages) >= 3
    verified(stage)


def test_a_receipt_from_another_history_is_closed_and_its_head_not_cosigned(
    stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gap = AirGap(stage, tmp_path, stage.listing(THEIRS))
    answer = gap.answer(gap.request(stage.ask(OURS, protocol=suite.Protocol.ECDH))).parcel
    honest = Parcels.choices

    def forked(parcels: Parcels, peer: Any, head: Any) -> Any:
        choices = honest(parcels, peer, head)
        for choice in choices:
            choice.checkpoint = choice.checkpoint.replace(b"\n", b"\n1", 1)
        return choices

    with monkeypatch.context() as patch:
        patch.setattr(Parcels, "choices", forked)
        receipt = gap.finish(OURS, answer)
    outcome = gap.release(OURS, gap.confirm(receipt).parcel)
    assert outcome.matched.to_pylist() == COMMON
    assert "is not remembered" in "".join(caplog.messages)
    assert "exchange.opened" not in cosigned(stage, AUTHORITY)
