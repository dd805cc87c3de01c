"""What the tests of the audit log share: a party's keys, entries, and a log in a folder."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare.audit.entry import Entry, Heartbeat, LogCreated
from psishare.audit.log import Log
from psishare.keys.note_key import NoteKey, NoteSigner, SignatureType
from psishare.keys.signer import Ed25519Signer, MlDsa44Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

ORIGIN = "police.example/log"
PEER = "telecom.example"
CLOCK = 1_785_000_000


@dataclass(frozen=True)
class Party:
    """A log's two signers under one name, the same in every test."""

    name: str
    signer: NoteSigner
    pq_signer: NoteSigner
    cosigner: NoteSigner

    @property
    def verifiers(self) -> tuple[NoteKey, NoteKey]:
        return self.signer.key, self.pq_signer.key

    @property
    def cosigner_keys(self) -> tuple[NoteKey, NoteKey]:
        return self.cosigner.key, self.pq_signer.key

    @property
    def cosigners(self) -> tuple[NoteSigner, NoteSigner]:
        return self.cosigner, self.pq_signer


def make_party(name: str = ORIGIN, seed: int = 1) -> Party:
    ed25519 = Ed25519Signer.from_secret_bytes(bytes([seed]) * 32)
    ml_dsa = MlDsa44Signer.from_secret_bytes(bytes([seed + 100]) * 32)
    return Party(
        name,
        NoteSigner(name, SignatureType.ED25519, ed25519),
        NoteSigner(name, SignatureType.ML_DSA_44, ml_dsa),
        NoteSigner(name, SignatureType.ED25519_COSIGNATURE, ed25519),
    )


def ticking() -> Callable[[], float]:
    """Return a clock that goes on by a second at each look."""
    seconds = itertools.count(CLOCK)
    return lambda: float(next(seconds))


def create_log(path: Path, party: Party | None = None) -> Log:
    """Make a log with its first entry."""
    party = party or make_party()
    log = Log.create(
        path,
        origin=party.name,
        signer=party.signer,
        pq_signer=party.pq_signer,
        clock=ticking(),
    )
    log.append(first_entry(party.name))
    return log


def open_log(path: Path, party: Party | None = None, later: Sequence[Party] = ()) -> Log:
    """Open a log; ``later`` are the pairs of keys that its home has beside the first."""
    party = party or make_party()
    return Log.open(
        path,
        origin=party.name,
        signer=party.signer,
        pq_signer=party.pq_signer,
        later=lambda: [(each.signer, each.pq_signer) for each in later],
        clock=ticking(),
    )


def first_entry(name: str = ORIGIN) -> LogCreated:
    return LogCreated(party=name, role="authority", card_sha256="ab" * 32)


def heartbeats(n: int) -> list[Entry]:
    return [Heartbeat(failed_handshakes=i) for i in range(n)]
