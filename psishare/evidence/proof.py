"""Proof of one exchange's end as a single small file, which any tool for C2SP's tlog-proof verifies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare.audit.checkpoint import Checkpoint, parse_checkpoint
from psishare.audit.entry import (
    Entry,
    ExchangeAborted,
    ExchangeClosed,
    ExchangeRefused,
    parse_entry,
)
from psishare.audit.note import SignedNote
from psishare.audit.signed_checkpoint import require_up_to_date, verify_checkpoint
from psishare.audit.tlog_proof import LogProof
from psishare.audit.tree import StoredTree
from psishare.errors import InputError, VerificationError
from psishare.evidence.cosigned import has_cosigned
from psishare.evidence.source import read_head
from psishare.evidence.trust import trusted_card

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psishare.evidence.quorum import Quorum
    from psishare.parties.card import Card
    from psishare.parties.home import Home

_ENDINGS = ExchangeClosed | ExchangeAborted | ExchangeRefused


@dataclass(frozen=True, slots=True)
class ProvenFact:
    """What a proof file shows.

    Attributes:
        checkpoint: of whose log, and how large it was.
        index: where the entry stands.
        entry: what it says.
    """

    checkpoint: Checkpoint
    index: int
    entry: Entry


def prove_ending(home: Home, exchange_id: str) -> bytes:
    """Return a proof file of the entry with which an exchange ended.

    Args:
        home: the party whose log tells of it.
        exchange_id: 64 hexadecimal digits.

    Raises:
        InputError: ``exchange_not_found``: the log tells of no such end.
        AuditError: there is no log, or it cannot be read.
        VerificationError: the log is damaged.
    """
    note = read_head(home.log_path)
    size = verify_checkpoint(note, home.card.checkpoint_verifiers).tree_size
    tree = StoredTree(home.log_path, size)
    mark = exchange_id.encode("ascii")
    for index, data in enumerate(tree.entries(0, size)):
        if mark not in data:
            continue
        entry = parse_entry(data)
        if isinstance(entry, _ENDINGS) and entry.exchange_id == exchange_id:
            return LogProof(index, tuple(tree.inclusion_proof(index)), note, data).serialise()
    raise InputError(
        "the log tells of no end of an exchange of that id",
        mend="See the ids, and how far each has come, with `psishare exchange list`.",
        reason="exchange_not_found",
    )


def verify_proof(
    data: bytes, trust: Mapping[str, Card], *, quorum: Quorum | None = None
) -> ProvenFact:
    """Verify a proof file with the cards that the verifier trusts.

    Args:
        data: the file's bytes.
        trust: cards, by party id.
        quorum: which witnesses must have cosigned.

    Raises:
        ConfigError: the log's card is not among them.
        VerificationError: the file is malformed, holds no entry, or does not prove it; a trusted party's
            cosignature on it is wrong; ``log_head_outdated``, its head is from before the log's newest keys and
            nobody who is trusted has cosigned it.
    """
    proof = LogProof.parse(data)
    if proof.extra is None:
        raise VerificationError(
            "the proof does not hold the entry that it is about",
            mend="Get it as `psishare audit prove` wrote it.",
            reason="proof_malformed",
        )
    owner = trusted_card(trust, parse_checkpoint(proof.checkpoint).origin)
    keys = owner.checkpoint_verifiers
    checkpoint, note = proof.verify(proof.extra, keys), SignedNote.parse(proof.checkpoint)
    others = [card for party, card in trust.items() if party != owner.id]
    # Every one of them is looked at, so that a wrong cosignature of any is refused.
    cosigned = [has_cosigned(note, checkpoint, card) for card in others]
    vouched = any(cosigned)
    if quorum is not None:
        quorum.require_log(keys)
        quorum.require_on(note, checkpoint)
        vouched |= quorum.vouches_for(note, checkpoint)
    require_up_to_date(checkpoint, keys, vouched=vouched)
    return ProvenFact(checkpoint, proof.index, parse_entry(proof.extra))
