"""Up to which tree a peer has cosigned a log: carried by a bundle whose head it has not seen, and verified."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from evidence_stage import exported, join, past, split, trust
from stage import AUTHORITY, PLATFORM, CopiedStage, Stage

from psishare.audit.checkpoint import Checkpoint, parse_checkpoint
from psishare.audit.cosignature import cosignature
from psishare.audit.entry import Heartbeat
from psishare.audit.note import SignedNote
from psishare.audit.signed_checkpoint import sign_checkpoint
from psishare.errors import VerificationError
from psishare.evidence.bundle import RecordType
from psishare.evidence.cosigned import has_cosigned
from psishare.evidence.export import Scope, export_bundle
from psishare.evidence.verify import verify_evidence, verify_log
from psishare.keys.note_key import NoteSigner, SignatureType
from psishare.keys.signer import Ed25519Signer, MlDsa44Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evidence_stage import Record

    from psishare.audit.verify_log import LogVerdict

N_AFTER = 3


@dataclass
class Lived:
    stage: Stage
    folder: Path
    records: list[Record]

    def cosigners(self, party: str = AUTHORITY) -> tuple[NoteSigner, NoteSigner]:
        home = self.stage.homes[party]
        return (
            NoteSigner(party, SignatureType.ED25519_COSIGNATURE, home.log_signer()),
            NoteSigner(party, SignatureType.ML_DSA_44, home.pq_signer()),
        )

    def own(self) -> tuple[NoteSigner, NoteSigner]:
        home = self.stage.homes[PLATFORM]
        return (
            NoteSigner(PLATFORM, SignatureType.ED25519, home.log_signer()),
            NoteSigner(PLATFORM, SignatureType.ML_DSA_44, home.pq_signer()),
        )

    def verified(self, records: list[Record]) -> LogVerdict:
        path = self.folder / "changed.bundle"
        path.write_bytes(join(records))
        return verify_evidence(path, trust(self.stage)).log

    def older(self) -> tuple[SignedNote, Checkpoint]:
        """Return the older checkpoint of the bundle, of which there is one."""
        [body] = [body for kind, body in self.records if kind == RecordType.CHECKPOINT]
        note = body[1 + 32 * body[0] :]
        return SignedNote.parse(note), parse_checkpoint(note)

    def changed(self, change: Callable[[SignedNote], SignedNote]) -> list[Record]:
        """Return the bundle's records with another note in place of the older checkpoint."""
        return [(kind, _changed(kind, body, change)) for kind, body in self.records]


def _changed(kind: int, body: bytes, change: Callable[[SignedNote], SignedNote]) -> bytes:
    if kind != RecordType.CHECKPOINT:
        return body
    place = 1 + 32 * body[0]
    return body[:place] + change(SignedNote.parse(body[place:])).serialise()


@pytest.fixture(scope="module")
def lived(homes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("cosigned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        stage = CopiedStage(homes, folder / "stage")
        past(stage)
        for _ in range(N_AFTER):
            stage.platform.log.append(Heartbeat(failed_handshakes=0))
    path = exported(stage, PLATFORM, folder / "all.bundle")
    yield Lived(stage, folder, split(path.read_bytes()))
    stage.close()


def only_by(note: SignedNote, *parties: str) -> SignedNote:
    return SignedNote(note.text, tuple(s for s in note.signatures if s.name in parties))


def test_a_bundle_tells_up_to_where_the_peer_has_cosigned_and_what_came_after(lived: Lived) -> None:
    log = lived.verified(lived.records)
    folder = verify_log(lived.stage.homes[PLATFORM].log_path, trust(lived.stage)).log
    cosigned = log.cosigners[AUTHORITY]
    assert log.cosigners == folder.cosigners
    assert 0 < cosigned < log.head.tree_size
    # The heartbeats of the past and of this test are what the peer has not seen.
    assert log.after_cosigned == {AUTHORITY: log.head.tree_size - cosigned}
    assert log.after_cosigned[AUTHORITY] >= N_AFTER
    assert log.n_checkpoints == 2


def test_a_head_that_the_peer_has_cosigned_needs_no_older_checkpoint(
    lived: Lived, tmp_path: Path
) -> None:
    log = lived.stage.platform.log
    head = log.head()
    lines = [cosignature(head, signer, time=9) for signer in lived.cosigners()]
    kept = log.checkpoint()
    folder = lived.stage.homes[PLATFORM].log_path
    try:
        log.add_cosignature(head.tree_size, b"".join(line.line().encode() for line in lines))
        path = exported(lived.stage, PLATFORM, tmp_path / "all.bundle")
        told = verify_evidence(path, trust(lived.stage)).log
    finally:
        for name in ("checkpoint", f"checkpoints/{head.tree_size}"):
            (folder / name).write_bytes(kept)
    assert told.after_cosigned == {AUTHORITY: 0}
    assert not [kind for kind, _body in split(path.read_bytes()) if kind == RecordType.CHECKPOINT]


def test_the_newest_that_the_peer_cosigned_counts_among_every_checkpoint(
    lived: Lived, tmp_path: Path
) -> None:
    path = tmp_path / "every.bundle"
    export_bundle(lived.stage.homes[PLATFORM], path, Scope(), all_checkpoints=True)
    log = verify_evidence(path, trust(lived.stage)).log
    assert log.cosigners == lived.verified(lived.records).cosigners
    assert log.n_checkpoints == 2


def test_where_the_cosigned_checkpoint_was_taken_out_nobody_has_cosigned(lived: Lived) -> None:
    bare = [record for record in lived.records if record[0] != RecordType.CHECKPOINT]
    stripped = lived.changed(lambda note: only_by(note, PLATFORM))
    for records in (bare, stripped):
        log = lived.verified(records)
        assert log.cosigners[AUTHORITY] == 0
        assert log.after_cosigned == {}


@pytest.mark.parametrize("kept", [0, 1])
def test_one_kind_of_cosignature_is_none_however_often_it_is_there(lived: Lived, kept: int) -> None:
    note, checkpoint = lived.older()
    signer = lived.cosigners()[kept]
    lines = tuple(cosignature(checkpoint, signer, time=time) for time in (7, 8))
    half = SignedNote(note.text, (*only_by(note, PLATFORM).signatures, *lines))
    card = lived.stage.homes[AUTHORITY].card
    assert not has_cosigned(half, checkpoint, card)
    assert lived.verified(lived.changed(lambda _note: half)).cosigners[AUTHORITY] == 0


def test_a_cosignature_of_no_time_is_none(lived: Lived) -> None:
    note, checkpoint = lived.older()
    lines = tuple(cosignature(checkpoint, signer, time=0) for signer in lived.cosigners())
    timeless = SignedNote(note.text, (*only_by(note, PLATFORM).signatures, *lines))
    assert lived.verified(lived.changed(lambda _note: timeless)).cosigners[AUTHORITY] == 0


def test_cosignatures_under_keys_that_are_not_the_peers_are_none(lived: Lived) -> None:
    note, checkpoint = lived.older()
    strangers = (
        NoteSigner(AUTHORITY, SignatureType.ED25519_COSIGNATURE, Ed25519Signer.generate()),
        NoteSigner(AUTHORITY, SignatureType.ML_DSA_44, MlDsa44Signer.generate()),
    )
    lines = tuple(cosignature(checkpoint, signer, time=9) for signer in strangers)
    foreign = SignedNote(note.text, (*only_by(note, PLATFORM).signatures, *lines))
    assert lived.verified(lived.changed(lambda _note: foreign)).cosigners[AUTHORITY] == 0


def test_a_cosignature_of_another_tree_is_refused(lived: Lived) -> None:
    note, checkpoint = lived.older()
    other = Checkpoint(PLATFORM, checkpoint.tree_size, bytes(32))
    lines = tuple(cosignature(other, signer, time=9) for signer in lived.cosigners())
    forged = SignedNote(note.text, (*only_by(note, PLATFORM).signatures, *lines))
    with pytest.raises(VerificationError) as caught:
        lived.verified(lived.changed(lambda _note: forged))
    assert (caught.value.reason, caught.value.party) == ("cosignature_invalid", AUTHORITY)


def test_a_cosigned_checkpoint_of_a_fork_is_refused(lived: Lived) -> None:
    """The owner showed its peer another tree of that size, signed like this one; the peer cosigned it."""
    _note, checkpoint = lived.older()
    fork = Checkpoint(PLATFORM, checkpoint.tree_size, bytes(range(32)))
    lines = [cosignature(fork, signer, time=9) for signer in lived.cosigners()]
    forked = sign_checkpoint(fork, *lived.own(), time=9).with_signatures(lines)
    with pytest.raises(
        VerificationError, match=f"checkpoint of {fork.tree_size} entries"
    ) as caught:
        lived.verified(lived.changed(lambda _note: forked))
    assert (caught.value.reason, caught.value.party) == ("proof_invalid", PLATFORM)


def test_a_cosigned_checkpoint_that_the_owner_did_not_sign_is_refused(lived: Lived) -> None:
    note, _checkpoint = lived.older()
    with pytest.raises(VerificationError) as caught:
        lived.verified(lived.changed(lambda _note: only_by(note, AUTHORITY)))
    assert caught.value.reason == "checkpoint_invalid"
