"""An exchange on the issuer's signature alone: covered while it may still be validated, or once it is."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from stage import ISSUER, PLATFORM, VALIDATOR, Stage

from psishare.client import import_mandate
from psishare.evidence.export import Scope, export_bundle
from psishare.evidence.mandate_book import COVERS, OVERDUE, MandateBook
from psishare.evidence.report import make_report
from psishare.evidence.verify import verify_evidence
from psishare.exchange.document import now, write_time
from psishare.exchange.offer import Answer, Offer
from psishare.mandates.draft import Grounds
from psishare.mandates.envelope import new_envelope, read_envelope, sign_envelope
from psishare.mandates.policy import Emergency, Policy
from psishare.psi import suite

if TYPE_CHECKING:
    from pathlib import Path

OURS = [b"a%d" % i for i in range(5)]
DEADLINE = now() + timedelta(hours=48)
DAY = timedelta(days=1)
GROUNDS = Grounds("danger to life", DEADLINE)


def issued(stage: Stage) -> bytes:
    """Return an emergency's mandate that its issuer alone has signed."""
    data = new_envelope(
        stage.mandate(
            emergency=GROUNDS, delayed_notification=Grounds("flight risk", DEADLINE + DAY)
        )
    )
    return sign_envelope(data, stage.homes[ISSUER].log_signer(), party=ISSUER)


def validated(stage: Stage, data: bytes) -> bytes:
    return sign_envelope(data, stage.homes[VALIDATOR].log_signer(), party=VALIDATOR)


def exchanged(stage: Stage, mandate: bytes) -> str:
    """Run an exchange on one signature and return its id."""
    policy = Policy(emergency=Emergency(allowed=True))
    platform = stage.responder(stage.listing(OURS), policy=policy)
    ask = stage.ask(OURS, mandate=mandate, protocol=suite.Protocol.ECDH)
    return stage.exchange(platform, ask).receipt.receipt.exchange_id


def documents(stage: Stage, exchange_id: str) -> tuple[Offer, Answer]:
    row = stage.platform.register.get(bytes.fromhex(exchange_id))
    assert row is not None
    assert row.answer is not None
    return Offer.parse(row.offer), Answer.parse(row.answer)


def judged(stage: Stage, mandates: list[bytes], exchange_id: str, *, days: int) -> str:
    """Return the verdict of an auditor who looks so many days later."""
    trust = {name: home.card for name, home in stage.homes.items()}
    book = MandateBook(trust, at=now() + days * DAY)
    book.add_all(mandates)
    return book.judge(*documents(stage, exchange_id))


def test_an_emergency_is_covered_until_its_deadline_and_named_after_it(stage: Stage) -> None:
    alone = issued(stage)
    exchange_id = exchanged(stage, alone)
    assert judged(stage, [alone], exchange_id, days=1) == COVERS
    assert judged(stage, [alone], exchange_id, days=3) == OVERDUE


def test_a_validation_covers_what_was_done_on_one_signature(stage: Stage) -> None:
    alone = issued(stage)
    exchange_id = exchanged(stage, alone)
    both = validated(stage, alone)
    assert judged(stage, [alone, both], exchange_id, days=300) == COVERS


def test_the_validation_of_another_mandate_covers_nothing(stage: Stage) -> None:
    alone = issued(stage)
    exchange_id = exchanged(stage, alone)
    other = validated(stage, issued(stage))
    assert judged(stage, [alone, other], exchange_id, days=3) == OVERDUE


def test_an_emergency_that_was_used_after_its_deadline_is_named_whoever_signs_later(
    stage: Stage,
) -> None:
    alone = issued(stage)
    exchange_id = exchanged(stage, alone)
    offer, answer = documents(stage, exchange_id)
    late = answer.model_copy(update={"time": write_time(DEADLINE + timedelta(hours=1))})
    mandate = stage.mandate(emergency=GROUNDS, not_after=now() + 9 * DAY)
    longer = sign_envelope(new_envelope(mandate), stage.homes[ISSUER].log_signer(), party=ISSUER)
    trust = {name: home.card for name, home in stage.homes.items()}
    book = MandateBook(trust)
    book.add_all([longer, validated(stage, longer)])
    under = offer.model_copy(update={"mandate_sha256": hashlib.sha256(longer).hexdigest()})
    assert book.judge(under, late) == OVERDUE
    assert book.judge(under, answer) == COVERS


def test_a_bundle_takes_the_validation_along_and_the_report_tells_of_both(
    stage: Stage, tmp_path: Path
) -> None:
    alone = issued(stage)
    exchange_id = exchanged(stage, alone)
    import_mandate(stage.homes[PLATFORM], validated(stage, alone))
    trust = {name: home.card for name, home in stage.homes.items()}
    for scope in (
        Scope(exchange_id=exchange_id),
        Scope(mandate_id=read_envelope(alone).mandate.id),
    ):
        bundle = tmp_path / f"{scope.kind}.bundle"
        exported = export_bundle(stage.homes[PLATFORM], bundle, scope)
        assert (exported.mandates, exported.missing_mandates) == (2, ())
        (told,) = verify_evidence(bundle, trust).exchanges
        assert told.mandate == COVERS
    (event,) = make_report(bundle, trust).events
    assert event.emergency_until == write_time(DEADLINE)
    assert event.no_notice_until == write_time(DEADLINE + DAY)
