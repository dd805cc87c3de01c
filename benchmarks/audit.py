"""The audit trail's cost: an append beside the disk's own fsync; a bundle of many exchanges verified.

    python -m benchmarks.audit [EXCHANGES]

The bundle is made of exchanges whose documents are signed as real ones are, without group operations.
"""

from __future__ import annotations

import base64
import os
import resource
import secrets
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from psishare.audit.entry import ExchangeClosed, ExchangeOpened, Heartbeat, Ruleset
from psishare.client import init_party
from psishare.client.opened_home import open_log
from psishare.evidence.export import Scope, export_bundle
from psishare.evidence.verify import verify_evidence
from psishare.exchange.document import now, write_time
from psishare.exchange.offer import ANSWER, OFFER, Answer, Offer
from psishare.exchange.offer import Ruleset as OfferedRuleset
from psishare.exchange.receipt import SequenceTotals, sign_receipt
from psishare.exchange.terms import Terms
from psishare.exchange.transcript import Transcript
from psishare.keys.statement import sign_statement
from psishare.mandates.archive import MandateArchive
from psishare.mandates.case_reference import CaseReference
from psishare.mandates.draft import draft
from psishare.mandates.envelope import new_envelope, read_envelope, sign_envelope

if TYPE_CHECKING:
    from psishare.audit.entry import Entry
    from psishare.parties.home import Home

PARTIES = {
    "tele.example": "platform",
    "police.example": "authority",
    "prosecutor.example": "issuer",
    "court.example": "issuer",
}
EXCHANGES = 100_000
APPENDS = 200
ROWS = 8


def envelope(homes: dict[str, Home]) -> bytes:
    mandate = draft(
        issuer="prosecutor.example",
        validator="court.example",
        validator_role="judge",
        authority="police.example",
        platform="tele.example",
        kinds=["phone"],
        outputs=["matches"],
        max_rows_per_exchange=1_000,
        max_rows_total=10**9,
        max_exchanges=10**9,
        jurisdiction="XX",
        legal_basis="section 100",
        purpose="a measurement",
        case=CaseReference.new("case"),
        not_before=now() - timedelta(days=1),
        not_after=now() + timedelta(days=1),
        now=now(),
    )
    data = new_envelope(mandate)
    for name in ("prosecutor.example", "court.example"):
        data = sign_envelope(data, homes[name].log_signer(), party=name)
    return data


def exchange(homes: dict[str, Home], mandate_id: str, mandate_sha256: str) -> list[Entry]:
    """Return the two entries of an exchange that closed, at the platform."""
    platform, authority = homes["tele.example"], homes["police.example"]
    moment = write_time(datetime.now(UTC))
    offer = Offer(
        suite="ristretto255-SHA512",
        protocol="ecdh",
        authority=authority.id,
        platform=platform.id,
        authority_certificate="aa" * 32,
        platform_certificate="bb" * 32,
        dataset="customers",
        manifest_sha256=None,
        kind="phone",
        namespace="",
        ruleset=OfferedRuleset(version=1, digest="cc" * 32),
        rows=ROWS,
        output="matches",
        frame_rows=ROWS,
        mandate_sha256=mandate_sha256,
        opening_commitment=secrets.token_hex(32),
        operator_commitment=secrets.token_hex(32),
        nonce=secrets.token_hex(32),
        time=moment,
    )
    answer = Answer(
        exchange_id=offer.exchange_id.hex(),
        platform=platform.id,
        dataset="customers",
        epoch=None,
        manifest_sha256=None,
        elements=ROWS,
        opening_commitment=secrets.token_hex(32),
        nonce=secrets.token_hex(32),
        time=moment,
    )
    terms = Terms(
        offer=offer,
        offer_signature=sign_statement(authority.log_signer(), OFFER, offer.document()),
        answer=answer,
        answer_signature=sign_statement(platform.log_signer(), ANSWER, answer.document()),
        mandate_id=mandate_id,
    )
    return [_opened(terms), _closed(homes, terms)]


def _opened(terms: Terms) -> ExchangeOpened:
    offer, answer = terms.offer, terms.answer
    return ExchangeOpened(
        exchange_id=answer.exchange_id,
        peer=offer.authority,
        protocol=offer.protocol,
        dataset=offer.dataset,
        epoch=None,
        manifest_sha256=None,
        kind=offer.kind,
        ruleset=Ruleset(version=1, digest=offer.ruleset.digest),
        output=offer.output,
        rows=offer.rows,
        mandate_id=terms.mandate_id,
        mandate_sha256=offer.mandate_sha256,
        opening_commitment=offer.opening_commitment,
        peer_opening_commitment=answer.opening_commitment,
        operator_commitment=offer.operator_commitment,
        offer=_text(offer.document()),
        offer_signature=_text(terms.offer_signature),
        answer=_text(answer.document()),
        answer_signature=_text(terms.answer_signature),
    )


def _closed(homes: dict[str, Home], terms: Terms) -> ExchangeClosed:
    totals = {}
    for name, rows in (("requests", ROWS), ("answers", ROWS), ("elements", ROWS), ("returns", 0)):
        transcript = Transcript(name, terms.exchange_id)
        if rows:
            transcript.add(secrets.token_bytes(32), rows)
        totals[name] = SequenceTotals.of(transcript)
    receipt = terms.receipt(totals, closed=terms.answer.time)
    document = receipt.document()
    return ExchangeClosed(
        exchange_id=receipt.exchange_id,
        peer=receipt.authority,
        mandate_id=receipt.mandate_id,
        receipt=_text(document),
        receipt_sha256=receipt.sha256.hex(),
        authority_signature=_text(sign_receipt(document, homes[receipt.authority].log_signer())),
        platform_signature=_text(sign_receipt(document, homes[receipt.platform].log_signer())),
        rows=ROWS,
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def fsync_s(folder: Path) -> float:
    """Return the time of one small write with fsync, the median of many."""
    times = []
    for _ in range(50):
        began = time.perf_counter()
        descriptor = os.open(folder / "probe", os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, b"x" * 4096)
        os.fsync(descriptor)
        os.close(descriptor)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    n_exchanges = int(sys.argv[1]) if len(sys.argv) > 1 else EXCHANGES
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        homes = {
            name: init_party(root / name, party_id=name, role=role, display_name=name)
            for name, role in PARTIES.items()
        }
        platform = homes["tele.example"]
        log = open_log(platform)
        times = []
        for _ in range(APPENDS):
            began = time.perf_counter()
            log.append(Heartbeat(failed_handshakes=0))
            times.append(time.perf_counter() - began)
        probe = fsync_s(root)
        print(f"append: {statistics.median(times) * 1e3:.1f} ms; one fsync {probe * 1e3:.2f} ms")
        data = envelope(homes)
        MandateArchive(platform.mandates_path).keep(data)
        mandate_id = read_envelope(data).mandate.id
        digest = next(platform.mandates_path.glob("*.mandate")).stem
        for start in range(0, n_exchanges, 128):
            entries = [
                entry
                for _ in range(min(128, n_exchanges - start))
                for entry in exchange(homes, mandate_id, digest)
            ]
            log.append_all(entries)
        path = root / "all.bundle"
        began = time.perf_counter()
        export_bundle(platform, path, Scope())
        exported = time.perf_counter() - began
        print(f"export: {exported:.1f} s, {path.stat().st_size / 1e6:.0f} MB")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.process_time()
        verdict = verify_evidence(
            path, {name: home.card for name, home in homes.items()}, each=lambda _verdict: None
        )
        seconds = time.process_time() - began
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(
            f"verify: {verdict.n_exchanges:,} exchanges in {seconds:.1f} s on one core,"
            f" {seconds / max(1, n_exchanges) * 1e6:.0f} µs each; memory grew by {grown / 1024:.0f} MiB"
        )


if __name__ == "__main__":
    main()
