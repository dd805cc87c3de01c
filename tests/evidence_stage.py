"""What the tests of evidence share: two parties with a past, and the cards that an auditor trusts."""

from __future__ import annotations

import contextlib
import hashlib
import struct
from typing import TYPE_CHECKING, Any

from stage import AUTHORITY, ISSUER, PLATFORM, VALIDATOR, Stage

from psishare.audit.entry import Heartbeat
from psishare.errors import PsishareError
from psishare.evidence.bundle import MAGIC, RecordType
from psishare.evidence.export import Scope, export_bundle
from psishare.psi import suite
from psishare.psi.suite import Output

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.parties.card import Card

Record = tuple[int, bytes]
"""A bundle's record: its type and its body."""
CUSTOMERS = [b"customer %d" % n for n in range(60)]
SUSPECTS = [b"customer %d" % n for n in range(50, 80)]


def trust(stage: Stage) -> dict[str, Card]:
    return {name: stage.homes[name].card for name in (PLATFORM, AUTHORITY, ISSUER, VALIDATOR)}


def past(stage: Stage) -> dict[str, Any]:
    """Let a stage live through exchanges of every ending, and return what they were.

    Returns:
        ``mandate`` and ``other``: envelopes; ``outcomes``: of ``oprf`` and ``ecdh``.
    """
    encoded, listed = stage.encode(CUSTOMERS), stage.listing(CUSTOMERS, name="list")
    responder = stage.responder(encoded, listed)
    mandate, other = stage.envelope(), stage.envelope(kinds=["email"])
    first = stage.exchange(responder, stage.ask(SUSPECTS, mandate=mandate))
    with contextlib.suppress(PsishareError):
        stage.exchange(
            responder,
            stage.ask(SUSPECTS, mandate=other, dataset="list", protocol=suite.Protocol.ECDH),
        )
    second = stage.exchange(
        responder,
        stage.ask(
            SUSPECTS,
            mandate=mandate,
            dataset="list",
            protocol=suite.Protocol.ECDH,
            output=Output.BOTH,
        ),
    )
    stage.platform.log.append(Heartbeat(failed_handshakes=3))
    return {"mandate": mandate, "other": other, "outcomes": (first, second)}


def exported(stage: Stage, party: str, path: Path, scope: Scope | None = None) -> Path:
    """Export a party's evidence into a file."""
    export_bundle(stage.homes[party], path, scope or Scope())
    return path


def split(data: bytes) -> list[Record]:
    """Return the records of a bundle, but for its end."""
    place, records = len(MAGIC), []
    while place < len(data):
        kind, length = struct.unpack_from(">BI", data, place)
        place += 5 + length
        records.append((kind, data[place - length : place]))
    return records[:-1]


def join(records: list[Record]) -> bytes:
    """Return a bundle of these records, with the end that they need."""
    data = MAGIC + b"".join(struct.pack(">BI", kind, len(body)) + body for kind, body in records)
    return data + struct.pack(">BI", RecordType.END, 32) + hashlib.sha256(data).digest()
