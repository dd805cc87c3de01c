"""A log and every exchange in it, verified; what cannot be, named."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hostile_exchange import OURS, THEIRS, Dying, failed, verified
from stage import AUTHORITY, ISSUER, PLATFORM, Stage

from psishare.audit.entry import (
    DatasetDelivered,
    Entry,
    ExchangeAborted,
    ExchangeClosed,
    ExchangeOpened,
    ExchangeRefused,
    LogCreated,
    Ruleset,
    parse_entry,
)
from psishare.audit.log import Log
from psishare.errors import AuditError, ConfigError, VerificationError
from psishare.evidence.verify import Ending, verify_log
from psishare.exchange.offer import ANSWER, OFFER, Answer, Offer
from psishare.exchange.receipt import Receipt, sign_receipt
from psishare.exchange.transcript import Transcript
from psishare.keys.note_key import NoteSigner, SignatureType
from psishare.keys.statement import sign_statement
from psishare.psi.suite import Output, Protocol
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from psishare.parties.card import Card

OTHER = "ab" * 32


def trust(stage: Stage) -> dict[str, Card]:
    return {name: home.card for name, home in stage.homes.items()}


def exchanged(stage: Stage, protocol: Protocol = Protocol.ECDH, **changes: Any) -> None:
    offering = stage.encode(THEIRS) if protocol is Protocol.OPRF else stage.listing(THEIRS)
    stage.exchange(stage.responder(offering), stage.ask(OURS, protocol=protocol, **changes))


def aborted(stage: Stage) -> None:
    platform = stage.responder(stage.listing(THEIRS), idle_timeout_s=-1)
    line = Dying(platform, stage.caller(), Call.EVALUATE, after=True, nth=2)
    failed(stage.asker(line), stage.ask(OURS, protocol=Protocol.ECDH))
    platform.expire()


def entries_of(stage: Stage, party: str) -> list[Entry]:
    log = stage.side(party).log
    return [parse_entry(data) for data in log.entries(0, log.size)]


def retold(stage: Stage, party: str, entries: list[Entry], path: Path) -> Path:
    """Write a log of one's own that tells something else, signed with the party's keys."""
    home = stage.homes[party]
    log = Log.create(
        path,
        origin=party,
        signer=NoteSigner(party, SignatureType.ED25519, home.log_signer()),
        pq_signer=NoteSigner(party, SignatureType.ML_DSA_44, home.pq_signer()),
    )
    for entry in entries:
        log.append(entry)
    return path


def test_verdict_tells_of_every_exchange_in_order(stage: Stage) -> None:
    exchanged(stage)
    aborted(stage)
    refused = stage.envelope(kinds=["email"])
    failed(
        stage.asker(stage.channel(stage.responder(stage.listing(THEIRS)))),
        stage.ask(OURS, protocol=Protocol.ECDH, mandate=refused),
    )
    # The authority left it open, and learnt at the next exchange that it had ended.
    ends = ((PLATFORM, AUTHORITY, "peer_silent"), (AUTHORITY, PLATFORM, "exchange_ended"))
    for party, peer, ended in ends:
        verdict = verify_log(stage.homes[party].log_path, trust(stage))
        assert verdict.party == party
        told = [(e.ending, e.reason, e.peer) for e in verdict.exchanges]
        assert told == [
            (Ending.CLOSED, None, peer),
            (Ending.ABORTED, ended, peer),
            (Ending.REFUSED, "mandate_other_kind", peer),
        ]
        closed, cut, refusal = verdict.exchanges
        assert (closed.protocol, closed.dataset, closed.kind) == ("ecdh", "customers", "phone")
        assert closed.rows == refusal.rows == len(OURS)
        assert cut.rows in (14, 20)
        assert closed.mandate_id
        assert refusal.mandate_id is None


def test_an_empty_log_and_an_open_exchange_are_no_faults(stage: Stage) -> None:
    assert verified(stage)[PLATFORM].exchanges == ()
    platform = stage.responder(stage.listing(THEIRS))
    line = Dying(platform, stage.caller(), Call.CLOSE, after=False)
    failed(stage.asker(line), stage.ask(OURS, protocol=Protocol.ECDH))
    assert [e.ending for e in verified(stage)[AUTHORITY].exchanges] == [Ending.OPEN]


def test_a_copy_verifies_as_the_log_does(stage: Stage, tmp_path: Path) -> None:
    exchanged(stage)
    shutil.copytree(stage.homes[PLATFORM].log_path, tmp_path / "copy")
    original = verify_log(stage.homes[PLATFORM].log_path, trust(stage))
    assert verify_log(tmp_path / "copy", trust(stage)) == original


# Whom the verifier trusts.


def test_a_log_without_its_owners_card_is_not_verified(stage: Stage) -> None:
    exchanged(stage)
    for missing in (PLATFORM, AUTHORITY):
        cards = {name: card for name, card in trust(stage).items() if name != missing}
        with pytest.raises(ConfigError) as raised:
            verify_log(stage.homes[PLATFORM].log_path, cards)
        assert (raised.value.reason, raised.value.party) == ("card_missing", missing)


def test_a_log_under_another_partys_card_is_refused(stage: Stage) -> None:
    exchanged(stage)
    cards = trust(stage)
    cards[PLATFORM] = cards[ISSUER]
    with pytest.raises(VerificationError):
        verify_log(stage.homes[PLATFORM].log_path, cards)


def test_no_log_and_no_checkpoint_are_named(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(AuditError) as raised:
        verify_log(tmp_path, trust(stage))
    assert raised.value.reason == "log_missing"
    (tmp_path / "checkpoint").write_bytes(b"nothing\n")
    with pytest.raises(VerificationError):
        verify_log(tmp_path, trust(stage))


# Tampering with what lies on the disk.


def test_every_file_of_a_log_is_looked_at(stage: Stage, tmp_path: Path) -> None:
    exchanged(stage)
    source = stage.homes[PLATFORM].log_path
    files = [p.relative_to(source) for p in source.rglob("*") if p.is_file() and p.name != "lock"]
    assert len(files) >= 6
    for number, name in enumerate(files):
        folder = tmp_path / str(number)
        shutil.copytree(source, folder)
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises((VerificationError, ConfigError)):
            verify_log(folder, trust(stage))


def test_an_entry_that_was_removed_is_noticed(stage: Stage, tmp_path: Path) -> None:
    exchanged(stage)
    source, folder = stage.homes[PLATFORM].log_path, tmp_path / "cut"
    shutil.copytree(source, folder)
    # The newest checkpoint goes, and an older one takes its place: the files give it away.
    sizes = sorted(int(p.name) for p in (folder / "checkpoints").iterdir())
    shutil.copy(folder / "checkpoints" / str(sizes[-2]), folder / "checkpoint")
    (folder / "checkpoints" / str(sizes[-1])).unlink()
    verdict = verify_log(folder, trust(stage))
    # What is left is a log that ended earlier: only the peer's cosignature tells of the rest.
    assert verdict.log.head.tree_size == sizes[-2]
    assert [e.ending for e in verdict.exchanges] == [Ending.OPEN]


# Logs that are signed and tell what cannot be.


def contradicts(stage: Stage, party: str, entries: list[Entry], path: Path, said: str) -> None:
    log = retold(stage, party, entries, path)
    with pytest.raises(VerificationError, match=said) as raised:
        verify_log(log, trust(stage))
    assert raised.value.reason == "log_contradicts"
    assert raised.value.message.startswith("entry ")
    assert party in raised.value.message


def changed(entries: list[Entry], kind: type[Entry], /, **changes: Any) -> list[Entry]:
    return [
        entry.model_copy(update=changes) if isinstance(entry, kind) else entry for entry in entries
    ]


def test_an_honest_log_that_is_told_again_verifies(stage: Stage, tmp_path: Path) -> None:
    exchanged(stage, Protocol.OPRF)
    for party in (PLATFORM, AUTHORITY):
        path = retold(stage, party, entries_of(stage, party), tmp_path / party)
        (exchange,) = verify_log(path, trust(stage)).exchanges
        assert exchange.ending is Ending.CLOSED


OPENED: dict[str, Any] = {
    "exchange_id": OTHER,
    "protocol": "openmined",
    "dataset": "suppliers",
    "epoch": 3,
    "manifest_sha256": OTHER,
    "kind": "email",
    "ruleset": Ruleset(version=9, digest=OTHER),
    "output": "count",
    "rows": 7,
    "mandate_sha256": OTHER,
    "opening_commitment": OTHER,
    "peer_opening_commitment": OTHER,
    "operator_commitment": OTHER,
}


@pytest.mark.parametrize("field", OPENED)
def test_an_opening_that_differs_from_its_documents_is_named(
    stage: Stage, tmp_path: Path, field: str
) -> None:
    exchanged(stage)
    entries = changed(entries_of(stage, PLATFORM), ExchangeOpened, **{field: OPENED[field]})
    contradicts(stage, PLATFORM, entries, tmp_path / "log", "differs from the documents")


@pytest.mark.parametrize("field", ["offer_signature", "answer_signature"])
def test_a_document_that_its_party_did_not_sign_is_named(
    stage: Stage, tmp_path: Path, field: str
) -> None:
    exchanged(stage)
    forged = base64.b64encode(bytes(64)).decode()
    entries = changed(entries_of(stage, AUTHORITY), ExchangeOpened, **{field: forged})
    log = retold(stage, AUTHORITY, entries, tmp_path / "log")
    with pytest.raises(VerificationError, match="not signed by") as raised:
        verify_log(log, trust(stage))
    assert raised.value.party == (AUTHORITY if field == "offer_signature" else PLATFORM)


def test_an_exchange_between_others_is_named(stage: Stage, tmp_path: Path) -> None:
    exchanged(stage)
    entries = changed(entries_of(stage, PLATFORM), ExchangeOpened, peer=ISSUER)
    contradicts(stage, PLATFORM, entries, tmp_path / "log", "between other parties")


def of(entries: list[Entry], kind: type[Entry]) -> Any:
    (found,) = [entry for entry in entries if isinstance(entry, kind)]
    return found


ORDERS: dict[str, tuple[Callable[[list[Entry]], list[Entry]], str]] = {
    "closed twice": (lambda e: [*e, of(e, ExchangeClosed)], "is not open"),
    "closed and not opened": (
        lambda e: [x for x in e if not isinstance(x, ExchangeOpened)],
        "is not open",
    ),
    "opened twice": (lambda e: [*e, of(e, ExchangeOpened)], "told of before"),
    "aborted after it closed": (
        lambda e: [*e, _abort(of(e, ExchangeOpened))],
        "that has ended",
    ),
    "opened after it was refused": (
        lambda e: [e[0], _refusal(of(e, ExchangeOpened)), *e[1:]],
        "told of before",
    ),
}


def _abort(opened: ExchangeOpened, **changes: Any) -> ExchangeAborted:
    fields: dict[str, Any] = {
        "exchange_id": opened.exchange_id,
        "peer": opened.peer,
        "mandate_id": opened.mandate_id,
        "reason": "interrupted",
        "frames": 0,
        "rows": 0,
        "requests_transcript": None,
        "last_signature": None,
        "at_fault": None,
    }
    return ExchangeAborted(**(fields | changes))


def _refusal(opened: ExchangeOpened) -> ExchangeRefused:
    return ExchangeRefused(
        exchange_id=opened.exchange_id,
        peer=opened.peer,
        reason="policy_kind",
        mandate_sha256=None,
        protocol=None,
        dataset=None,
        kind=None,
        output=None,
        rows=None,
    )


@pytest.mark.parametrize("what", ORDERS)
def test_an_order_of_entries_that_cannot_be_is_named(
    stage: Stage, tmp_path: Path, what: str
) -> None:
    exchanged(stage)
    order, said = ORDERS[what]
    entries = order(entries_of(stage, PLATFORM))
    contradicts(stage, PLATFORM, entries, tmp_path / "log", said)


def test_a_repeated_offer_that_is_refused_leaves_the_exchange_as_it_was(
    stage: Stage, tmp_path: Path
) -> None:
    exchanged(stage)
    entries = entries_of(stage, PLATFORM)
    refusal = _refusal(of(entries, ExchangeOpened))
    log = retold(stage, PLATFORM, [*entries, refusal], tmp_path / "log")
    (exchange,) = verify_log(log, trust(stage)).exchanges
    assert exchange.ending is Ending.CLOSED


# Receipts.


def resigned(stage: Stage, entries: list[Entry], change: Callable[[Any], None]) -> list[Entry]:
    """Let both parties sign another receipt: only what they logged before contradicts it."""
    closed = of(entries, ExchangeClosed)
    fields = json.loads(base64.b64decode(closed.receipt))
    change(fields)
    receipt = Receipt.model_validate(fields)
    document = receipt.document()
    signatures = {
        name: base64.b64encode(sign_receipt(document, stage.homes[party].log_signer())).decode()
        for name, party in (
            ("authority_signature", AUTHORITY),
            ("platform_signature", PLATFORM),
        )
    }
    return changed(
        entries,
        ExchangeClosed,
        receipt=base64.b64encode(document).decode(),
        receipt_sha256=receipt.sha256.hex(),
        **signatures,
    )


RECEIPTS: dict[str, Callable[[Any], None]] = {
    "dataset": lambda r: r.update(dataset="suppliers"),
    "kind": lambda r: r.update(kind="email"),
    "namespace": lambda r: r.update(namespace="other"),
    "output": lambda r: r.update(output="count"),
    "epoch": lambda r: r.update(epoch=4),
    "manifest": lambda r: r.update(manifest_sha256=OTHER),
    "mandate id": lambda r: r.update(mandate_id="0123456789abcdef"),
    "mandate": lambda r: r.update(mandate_sha256=OTHER),
    "answer": lambda r: r.update(answer_sha256=OTHER),
    "opening": lambda r: r.update(opened="2026-01-01T00:00:00Z"),
    "fewer requests": lambda r: r["requests"].update(rows=19),
    "more request frames": lambda r: r["requests"].update(frames=4),
    "fewer answers": lambda r: r["answers"].update(rows=14, frames=2),
    "fewer elements": lambda r: r["elements"].update(rows=0, frames=0),
    "returns": lambda r: r["returns"].update(rows=28, frames=4),
    "a transcript of nothing": lambda r: r["returns"].update(transcript=OTHER),
    "the transcript of nothing": lambda r: r["requests"].update(
        transcript=Transcript("requests", bytes.fromhex(r["exchange_id"])).value.hex()
    ),
}


@pytest.mark.parametrize("what", RECEIPTS)
def test_a_receipt_that_both_sign_and_that_is_not_the_exchanges_is_named(
    stage: Stage, tmp_path: Path, what: str
) -> None:
    exchanged(stage)
    entries = resigned(stage, entries_of(stage, PLATFORM), RECEIPTS[what])
    contradicts(stage, PLATFORM, entries, tmp_path / "log", "receipt")


@pytest.mark.parametrize("field", ["peer", "mandate_id", "receipt_sha256", "rows"])
def test_a_closing_that_tells_otherwise_than_its_receipt_is_named(
    stage: Stage, tmp_path: Path, field: str
) -> None:
    exchanged(stage)
    value = {"peer": ISSUER, "mandate_id": "0123456789abcdef", "receipt_sha256": OTHER, "rows": 3}
    entries = changed(entries_of(stage, PLATFORM), ExchangeClosed, **{field: value[field]})
    said = "is not open" if field == "peer" else "receipt"
    contradicts(stage, PLATFORM, entries, tmp_path / "log", said)


@pytest.mark.parametrize("field", ["authority_signature", "platform_signature"])
def test_a_receipt_that_one_party_did_not_sign_is_named(
    stage: Stage, tmp_path: Path, field: str
) -> None:
    exchanged(stage)
    closed = of(entries_of(stage, PLATFORM), ExchangeClosed)
    other = {"authority_signature", "platform_signature"} - {field}
    entries = changed(
        entries_of(stage, PLATFORM), ExchangeClosed, **{field: getattr(closed, other.pop())}
    )
    log = retold(stage, PLATFORM, entries, tmp_path / "log")
    with pytest.raises(VerificationError, match="not signed by"):
        verify_log(log, trust(stage))


# Aborts.

ABORTS: dict[str, dict[str, Any]] = {
    "more rows than its frames hold": {"rows": 13},
    "fewer rows than its frames hold": {"rows": 20},
    "more frames than were offered": {"frames": 9},
    "no transcript": {"requests_transcript": None},
    "no signature": {"last_signature": None},
    "nothing asked, and a transcript": {"frames": 0, "rows": 0},
}


@pytest.mark.parametrize("what", ABORTS)
def test_an_abort_whose_counts_cannot_be_is_named(stage: Stage, tmp_path: Path, what: str) -> None:
    aborted(stage)
    entries = entries_of(stage, PLATFORM)
    assert of(entries, ExchangeAborted).frames in (2, 3)
    if what == "fewer rows than its frames hold" and of(entries, ExchangeAborted).frames == 3:
        ABORTS[what]["rows"] = 14
    entries = changed(entries, ExchangeAborted, **ABORTS[what])
    contradicts(stage, PLATFORM, entries, tmp_path / "log", "cannot have been made")


def test_an_abort_with_a_request_that_the_authority_did_not_sign_is_named(
    stage: Stage, tmp_path: Path
) -> None:
    aborted(stage)
    entries = changed(entries_of(stage, PLATFORM), ExchangeAborted, requests_transcript=OTHER)
    log = retold(stage, PLATFORM, entries, tmp_path / "log")
    with pytest.raises(VerificationError, match="request is not signed by"):
        verify_log(log, trust(stage))


def test_an_abort_before_an_opening_can_tell_of_no_request(stage: Stage, tmp_path: Path) -> None:
    aborted(stage)
    entries = [e for e in entries_of(stage, PLATFORM) if not isinstance(e, ExchangeOpened)]
    contradicts(stage, PLATFORM, entries, tmp_path / "log", "cannot have been made")


# Datasets.


def test_an_exchange_on_a_dataset_that_was_never_published_is_named(
    stage: Stage, tmp_path: Path
) -> None:
    exchanged(stage, Protocol.OPRF)
    entries = [e for e in entries_of(stage, PLATFORM) if not e.type.startswith("dataset.")]
    contradicts(stage, PLATFORM, entries, tmp_path / "log", "does not know")


def test_a_delivery_of_a_dataset_that_was_never_published_is_named(
    stage: Stage, tmp_path: Path
) -> None:
    exchanged(stage, Protocol.OPRF)
    entries = [e for e in entries_of(stage, PLATFORM) if e.type != "dataset.published"]
    contradicts(stage, PLATFORM, entries, tmp_path / "log", "was not published")


def test_an_exchange_on_a_dataset_that_was_never_delivered_is_named(
    stage: Stage, tmp_path: Path
) -> None:
    exchanged(stage, Protocol.OPRF)
    entries = [e for e in entries_of(stage, AUTHORITY) if not isinstance(e, DatasetDelivered)]
    contradicts(stage, AUTHORITY, entries, tmp_path / "log", "does not know")


def test_a_log_without_its_beginning_is_refused_when_it_is_read(
    stage: Stage, tmp_path: Path
) -> None:
    exchanged(stage)
    first, *_ = entries_of(stage, PLATFORM)
    assert isinstance(first, LogCreated)
    path = retold(stage, PLATFORM, [first], tmp_path / "log")
    assert verify_log(path, trust(stage)).exchanges == ()


def test_offers_and_answers_that_are_not_documents_are_refused(
    stage: Stage, tmp_path: Path
) -> None:
    exchanged(stage)
    opened = of(entries_of(stage, PLATFORM), ExchangeOpened)
    offer = Offer.parse(base64.b64decode(opened.offer))
    answer = Answer.parse(base64.b64decode(opened.answer))
    for field, label, party, document in (
        ("offer", OFFER, AUTHORITY, offer.document() + b" "),
        ("answer", ANSWER, PLATFORM, answer.document().replace(b'"version":1', b'"version":2')),
    ):
        signature = sign_statement(stage.homes[party].log_signer(), label, document)
        entries = changed(
            entries_of(stage, PLATFORM),
            ExchangeOpened,
            **{
                field: base64.b64encode(document).decode(),
                f"{field}_signature": base64.b64encode(signature).decode(),
            },
        )
        log = retold(stage, PLATFORM, entries, tmp_path / field)
        with pytest.raises(VerificationError) as raised:
            verify_log(log, trust(stage))
        assert raised.value.reason == "document_malformed"


# Without anything but Python.

BARE = """
    import sys

    class Blocked:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {"pyarrow", "grpc", "google"} or name.endswith("._native"):
                raise ImportError(f"{name} is blocked")

    sys.meta_path.insert(0, Blocked())
    import socket
    def no_socket(*_, **__):
        raise AssertionError("a socket was opened")
    socket.socket = no_socket

    from pathlib import Path
    from psishare.evidence.verify import verify_log
    from psishare.parties.card import parse_card

    log, *cards = map(Path, sys.argv[1:])
    trust = {card.id: card for card in (parse_card(path.read_bytes()) for path in cards)}
    verdict = verify_log(log, trust)
    print(verdict.party, [exchange.ending.value for exchange in verdict.exchanges])
    loaded = {name.partition(".")[0] for name in sys.modules}
    assert not loaded & {"pyarrow", "grpc", "google"}, loaded
    assert "psishare._native" not in sys.modules
"""


def test_verification_needs_no_native_code_no_arrow_no_network_and_no_secret(
    stage: Stage, tmp_path: Path
) -> None:
    exchanged(stage, Protocol.ECDH, output=Output.COUNT)
    aborted(stage)
    cards = []
    for name in (PLATFORM, AUTHORITY):
        path = tmp_path / f"{name}.card"
        path.write_bytes(stage.homes[name].export_card())
        cards.append(str(path))
    log = tmp_path / "log"
    shutil.copytree(stage.homes[PLATFORM].log_path, log)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BARE), str(log), *cards],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{PLATFORM} ['closed', 'aborted']\n"
