"""The audit trail's cost: an append beside the disk's own fsync; a bundle of many exchanges verified.

    python -m benchmarks.audit [EXCHANGES]

The bundle is made of exchanges whose documents are signed as real ones are, without group operations.
An append's fsyncs are timed where they happen, so that what the disk takes and what psishare takes come
from the same appends. Verification is measured in CPU seconds, user and system, of its one process.
"""

from __future__ import annotations

import base64
import contextlib
import os
import resource
import secrets
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
    from collections.abc import Iterator, Sequence

    from psishare.audit.entry import Entry
    from psishare.audit.log import Log
    from psishare.keys.signer import Signer
    from psishare.parties.home import Home

PARTIES = {
    "tele.example": "platform",
    "police.example": "authority",
    "prosecutor.example": "issuer",
    "court.example": "issuer",
}
EXCHANGES = 100_000
APPENDS = 600
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


def exchange(signers: dict[str, Signer], mandate_id: str, mandate_sha256: str) -> list[Entry]:
    """Return the two entries of an exchange that closed, at the platform.

    Args:
        signers: of the parties' logs, by id.
        mandate_id, mandate_sha256: of the mandate under which it was.
    """
    platform, authority = "tele.example", "police.example"
    moment = write_time(datetime.now(UTC))
    offer = Offer(
        suite="ristretto255-SHA512",
        protocol="ecdh",
        authority=authority,
        platform=platform,
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
        platform=platform,
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
        offer_signature=sign_statement(signers[authority], OFFER, offer.document()),
        answer=answer,
        answer_signature=sign_statement(signers[platform], ANSWER, answer.document()),
        mandate_id=mandate_id,
    )
    return [_opened(terms), _closed(signers, terms)]


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


def _closed(signers: dict[str, Signer], terms: Terms) -> ExchangeClosed:
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
        authority_signature=_text(sign_receipt(document, signers[receipt.authority])),
        platform_signature=_text(sign_receipt(document, signers[receipt.platform])),
        rows=ROWS,
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


class AppendTime(NamedTuple):
    """One append with a durable checkpoint, in seconds: all of it, and how much of that was fsync."""

    total_s: float
    fsync_s: float
    n_fsyncs: int

    @property
    def beside_s(self) -> float:
        """What it took beside the disk's own fsync."""
        return self.total_s - self.fsync_s


class TimedFsync:
    """Stands for ``os.fsync`` and counts the seconds that the disk takes."""

    def __init__(self) -> None:
        self._fsync = os.fsync
        self.seconds = 0.0
        self.calls = 0

    def __call__(self, descriptor: int) -> None:
        began = time.perf_counter()
        self._fsync(descriptor)
        self.seconds += time.perf_counter() - began
        self.calls += 1

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Have every fsync of this process timed."""
        os.fsync = self  # type: ignore[assignment]  # only descriptors are ever given
        try:
            yield
        finally:
            os.fsync = self._fsync


def append_times(log: Log) -> list[AppendTime]:
    """Return the times of many appends, one entry and one checkpoint each."""
    times = []
    disk = TimedFsync()
    with disk.installed():
        for _ in range(APPENDS):
            before, calls = disk.seconds, disk.calls
            began = time.perf_counter()
            log.append(Heartbeat(failed_handshakes=0))
            total = time.perf_counter() - began
            times.append(AppendTime(total, disk.seconds - before, disk.calls - calls))
    return times


def spread(seconds: Sequence[float]) -> str:
    """Return a median in milliseconds, and between what the middle eight tenths lie."""
    tenths = statistics.quantiles(seconds, n=10)
    return (
        f"{statistics.median(seconds) * 1e3:.1f} ms"
        f" (8 of 10: {tenths[0] * 1e3:.1f} to {tenths[-1] * 1e3:.1f})"
    )


def say_appends(times: Sequence[AppendTime]) -> None:
    calls = statistics.median(each.n_fsyncs for each in times)
    print(f"append: {spread([each.total_s for each in times])}, {len(times)} of them")
    print(f"  the disk's own fsync, {calls:.0f} calls: {spread([each.fsync_s for each in times])}")
    print(f"  beside it: {spread([each.beside_s for each in times])}")


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
        say_appends(append_times(log))
        data = envelope(homes)
        MandateArchive(platform.mandates_path).keep(data)
        mandate_id = read_envelope(data).mandate.id
        digest = next(platform.mandates_path.glob("*.mandate")).stem
        signers = {name: home.log_signer() for name, home in homes.items()}
        for start in range(0, n_exchanges, 128):
            entries = [
                entry
                for _ in range(min(128, n_exchanges - start))
                for entry in exchange(signers, mandate_id, digest)
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
