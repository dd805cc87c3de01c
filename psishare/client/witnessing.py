"""A log's head taken to its witnesses, whose cosignatures are kept beside it.

Source: protocols/specs/audit-log.md, section 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from psishare.audit.checkpoint import parse_checkpoint
from psishare.audit.note import SignedNote
from psishare.audit.witness import (
    ADD_CHECKPOINT,
    WitnessAnswer,
    add_checkpoint,
    cosignatures,
    known_size,
)
from psishare.client.opened_home import open_log
from psishare.errors import AuditError, ConfigError, PeerError, PsishareError
from psishare.transport.http_post import post

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psishare.audit.log import Log
    from psishare.evidence.quorum import Quorum, Witness
    from psishare.parties.home import Home

MAX_CALLS = 3
LOOKED_BACK = 1024


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What became of a call to the witnesses under one URL.

    Attributes:
        names: theirs, as the policy has them.
        url: where they were asked.
        error: why they did not cosign; None where they did.
    """

    names: tuple[str, ...]
    url: str
    error: PsishareError | None


@dataclass(frozen=True, slots=True)
class Witnessing:
    """What became of a head.

    Attributes:
        tree_size: the head's.
        witnesses: one for each URL.
        has_quorum: whether the head has the policy's quorum now.
    """

    tree_size: int
    witnesses: tuple[Witnessed, ...]
    has_quorum: bool


def ask_witnesses(home: Home, policy: Quorum) -> Witnessing:
    """Have each witness of a policy cosign the newest checkpoint, and keep what verifies.

    Args:
        home: of a party that keeps a log.
        policy: about this log; its witnesses with a URL are asked, one after the other.

    Returns:
        What became of it; that of a witness which failed is told, and keeps no other from being asked.

    Raises:
        ConfigError: ``witness_missing``, no witness of the policy has a URL.
        VerificationError: ``quorum_missing``, the policy is about another log; the log is damaged.
        AuditError: there is no log, or a cosignature cannot be kept.
    """
    policy.require_log(home.card.checkpoint_verifiers)
    witnesses = sorted(policy.witnesses, key=lambda witness: witness.url)
    if not witnesses:
        raise ConfigError(
            "no witness of the policy has a URL",
            mend="Write it after the witness's key: `witness NAME KEY https://witness.example`.",
            reason="witness_missing",
        )
    log = open_log(home)
    note = log.checkpoint()
    size = parse_checkpoint(note).tree_size
    asked = [
        _asked(log, note, url, tuple(together))
        for url, together in groupby(witnesses, key=lambda witness: witness.url)
    ]
    signed = SignedNote.parse(log.checkpoint(size))
    return Witnessing(size, tuple(asked), policy.is_on(signed, parse_checkpoint(note)))


def _asked(log: Log, note: bytes, url: str, witnesses: Sequence[Witness]) -> Witnessed:
    names = tuple(witness.name for witness in witnesses)
    try:
        lines = _call(log, note, url, witnesses)
    except PsishareError as error:
        return Witnessed(names, url, error)
    log.add_cosignature(parse_checkpoint(note).tree_size, lines)
    return Witnessed(names, url, None)


def _call(log: Log, note: bytes, url: str, witnesses: Sequence[Witness]) -> bytes:
    checkpoint, keys = parse_checkpoint(note), [witness.key for witness in witnesses]
    name, old = " and ".join(witness.name for witness in witnesses), _last_cosigned(log, witnesses)
    for _ in range(MAX_CALLS):
        proof = log.consistency_proof(old, checkpoint.tree_size) if old else []
        body = add_checkpoint(note, old, proof)
        got = post(url.rstrip("/") + ADD_CHECKPOINT, body)
        answer = WitnessAnswer(got.status, got.content_type, got.body)
        other = known_size(answer, checkpoint.tree_size, name=name)
        if other is None:
            return cosignatures(answer, checkpoint, keys, name=name)
        old = other
    raise PeerError(
        f"the witness {name} says another size at every call",
        mend="Try again later; another process of this log may be asking it as well.",
        reason="witness_failed",
    )


def _last_cosigned(log: Log, witnesses: Sequence[Witness]) -> int:
    """Return the largest size of late that one of the witnesses has cosigned; 0 where there is none."""
    for size in range(log.size, max(0, log.size - LOOKED_BACK), -1):
        try:
            note = SignedNote.parse(log.checkpoint(size))
        except AuditError as error:
            if error.reason != "checkpoint_unknown":
                raise
            continue
        if any(note.by(witness.key) for witness in witnesses):
            return size
    return 0
