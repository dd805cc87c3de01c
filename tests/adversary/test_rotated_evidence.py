"""Evidence of a log whose keys followed one another: what a bundle, a folder or a proof cannot claim of them."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from air_gap import AirGap
from audit_examples import make_party
from evidence_stage import CUSTOMERS, SUSPECTS, join, split, trust
from stage import AUTHORITY, PLATFORM, OpenedStage, Stage

import psishare
from psishare.audit.checkpoint import parse_checkpoint
from psishare.audit.cosignature import cosign, cosignature
from psishare.audit.entry import HandoverSignatures, Heartbeat
from psishare.audit.fsck import check_log_folder
from psishare.audit.key_history import retirement_entry
from psishare.audit.layout import CHECKPOINT, CHECKPOINTS
from psishare.audit.log import Log
from psishare.audit.note import SignedNote
from psishare.audit.signed_checkpoint import sign_checkpoint
from psishare.audit.tlog_proof import LogProof
from psishare.audit.tree import StoredTree
from psishare.client import log_rotation, opened_home
from psishare.client.log_rotation import retire_log_keys, rotate_log_keys
from psishare.client.opened_home import log_signers, open_log
from psishare.errors import ConfigError, VerificationError
from psishare.evidence import export
from psishare.evidence.bundle import RecordType
from psishare.evidence.cosigned import has_cosigned
from psishare.evidence.export import Scope, export_bundle
from psishare.evidence.proof import verify_proof
from psishare.evidence.quorum import Quorum
from psishare.evidence.source import open_evidence
from psishare.exchange.document import now
from psishare.exchange.heads import cosign_head
from psishare.keys.handover import Handover
from psishare.keys.log_keys import MAX_PAIRS
from psishare.parties import log_rotation as pairs_file
from psishare.parties.card_change import changing_card, replace_card
from psishare.parties.home import Home
from psishare.parties.log_rotation import adopt_log_keys
from psishare.parties.peers import Peers
from psishare.psi import suite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from psishare.exchange.ask import Ask
    from psishare.keys.log_keys import LogKeys
    from psishare.keys.note_key import NoteKey, NoteSigner
    from psishare.parties.card import Card

EVER = Scope(since="2020-01-01T00:00:00Z", until="2099-01-01T00:00:00Z")
SCOPES = {"all": Scope(), "period": EVER}


def verified(path: Path, cards: Mapping[str, Card], *, quorum: Quorum | None = None) -> int:
    """Verify evidence to its last entry, and return how many entries its head covers."""
    with open_evidence(path, cards, quorum=quorum) as evidence:
        for _each in evidence.entries():
            pass
        return evidence.head.tree_size


def refusal(path: Path, cards: Mapping[str, Card], *, quorum: Quorum | None = None) -> str:
    with pytest.raises(VerificationError) as caught:
        verified(path, cards, quorum=quorum)
    return caught.value.reason


def bundle(home: Home, path: Path, scope: Scope | None = None) -> Path:
    export_bundle(home, path, scope or Scope())
    return path


def unguarded(home: Home, path: Path, scope: Scope | None = None) -> Path:
    """Export as somebody does who does not hold the card against the log."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "KeyHistory", lambda _first: Ignorant(home))
        return bundle(home, path, scope)


class Ignorant:
    """Knows of a log's keys what the card says, whatever the entries do."""

    def __init__(self, home: Home) -> None:
        self.keys = home.card.checkpoint_verifiers

    def take_all(self, _entries: object) -> None:
        """Read none of them."""


def beat(home: Home, n: int = 1) -> None:
    log = open_log(home)
    for number in range(n):
        log.append(Heartbeat(failed_handshakes=number))


def copied(home: Home, path: Path) -> Home:
    """Return what a thief has of a home."""
    shutil.copytree(home.path, path)
    return Home.open(path)


def signed_alone(home: Home, pair: Sequence[NoteKey]) -> None:
    """Let a pair alone sign the head of a home's log, as whoever has only that pair does."""
    head = parse_checkpoint((home.log_path / CHECKPOINT).read_bytes())
    note = sign_checkpoint(head, *home.checkpoint_signers(pair), time=1).serialise()
    for name in (CHECKPOINT, f"{CHECKPOINTS}/{head.tree_size}"):
        (home.log_path / name).write_bytes(note)


def policy(key: NoteKey) -> Quorum:
    return Quorum(f"log {key.encode()}\nquorum none\n".encode())


# The pinned key alone, or whoever breaks Ed25519.


def forged_home(home: Home, path: Path) -> Home:
    """Return a home whose log goes on under keys of a thief who has of the party's only the pinned one.

    The thief signs a true checkpoint, too: it bears every signature that a first one under two pairs does.
    To be called where no handover is verified.
    """
    thief, own = copied(home, path), make_party(home.id, seed=77)
    (thief.keys_path / "log_ml_dsa_44.json").unlink()
    head = (thief.log_path / CHECKPOINT).read_bytes()
    checkpoint = parse_checkpoint(head)
    more = sign_checkpoint(checkpoint, own.signer, own.pq_signer, time=1).signatures
    for name in (CHECKPOINT, f"{CHECKPOINTS}/{checkpoint.tree_size}"):
        (thief.log_path / name).write_bytes(
            SignedNote.parse(head).with_signatures(more).serialise()
        )

    class Thiefs(Log):
        def _pairs_after(self, _entries: object) -> list[tuple[NoteSigner, NoteSigner]]:
            return [(own.signer, own.pq_signer)]

    log = Thiefs.open(
        thief.log_path, later=lambda: [(own.signer, own.pq_signer)], **log_signers(thief)
    )
    log.append(Heartbeat(failed_handshakes=31_337))
    pinned, _ml_dsa_44 = thief.checkpoint_signers(thief.card.verifiers())
    word = HandoverSignatures.of(Handover.sign((pinned, own.pq_signer), own.verifiers))
    pairs = [[key.encode() for key in pair] for pair in (thief.card.verifiers(), own.verifiers)]
    told = (0, None), (checkpoint.tree_size, word.model_dump())
    keys = [
        {"ed25519": pair[0], "ml_dsa_44": pair[1], "first": first, "last": None, "handover": word}
        for pair, (first, word) in zip(pairs, told, strict=True)
    ]
    return replace_card(thief, now(), version=2, checkpoint_keys=keys)


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_the_pinned_key_alone_can_name_no_other_keys_of_the_log(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: Scope
) -> None:
    home = stage.homes[PLATFORM]
    beat(home, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Handover, "verify", lambda *_: None)
        forged = forged_home(home, tmp_path / "thief")
        whole, card = unguarded(forged, tmp_path / "bundle", scope), forged.export_card()
        if scope is EVER:
            # But for the handover an auditor would believe it.
            assert verified(whole, trust(stage)) == open_log(home).size + 1
    assert refusal(whole, trust(stage)) == "bundle_malformed"
    assert refusal(forged.log_path, trust(stage)) == "checkpoint_invalid"
    # Without the card in it, nothing leads from the trusted keys to the thief's.
    records = [each for each in split(whole.read_bytes()) if each != (RecordType.CARD, card)]
    whole.write_bytes(join(records))
    assert refusal(whole, trust(stage)) == "checkpoint_invalid"
    with pytest.raises(ConfigError) as caught:
        psishare.pin_peer(stage.homes[AUTHORITY], card, fingerprint=None, trusted_as=None)
    assert caught.value.reason == "card_malformed"


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_a_bundle_holds_the_first_checkpoint_under_each_pair_and_it_has_all_signatures(
    stage: Stage, tmp_path: Path, scope: Scope
) -> None:
    cards = trust(stage)
    home = retire_log_keys(rotate_log_keys(stage.homes[PLATFORM]))
    home = rotate_log_keys(home)
    beat(home)
    whole = bundle(home, tmp_path / "bundle", scope)
    size = verified(whole, cards)
    assert verified(whole, cards | {PLATFORM: home.card}) == size
    records = split(whole.read_bytes())
    places = [place for place, (kind, _) in enumerate(records) if kind == RecordType.CHECKPOINT]
    assert len(places) == len(home.card.checkpoint_verifiers.terms) - 1
    for known in (cards, cards | {PLATFORM: home.card}):
        for place, term in zip(places, home.card.checkpoint_verifiers.terms[1:], strict=True):
            before, (kind, body), after = records[:place], records[place], records[place + 1 :]
            whole.write_bytes(join(before + after))
            assert refusal(whole, known) == "bundle_incomplete"
            # The new pair alone could have signed a tree that the old one never saw.
            note = (home.log_path / CHECKPOINTS / str(term.first)).read_bytes()
            assert body.endswith(note)
            lines = SignedNote.parse(note)
            kept = [line for key in term.keys for line in lines.by(key)]
            alone = body.removesuffix(note) + SignedNote(lines.text, tuple(kept)).serialise()
            whole.write_bytes(join([*before, (kind, alone), *after]))
            assert refusal(whole, known) == "checkpoint_invalid"


# A pair that was retired.


def test_entries_after_the_old_pair_s_retirement_are_not_the_old_pair_s_to_sign(
    stage: Stage, tmp_path: Path
) -> None:
    home, cards = stage.homes[PLATFORM], trust(stage)
    thief = copied(home, tmp_path / "thief")
    home = retire_log_keys(rotate_log_keys(home))
    # The true log, and then the thief of the old pair goes on with it under the card from before.
    shutil.rmtree(thief.log_path)
    shutil.copytree(home.log_path, thief.log_path)
    signed_alone(thief, thief.card.verifiers())
    log = Log.open(thief.log_path, **log_signers(thief))
    for number in range(3):
        log.append(Heartbeat(failed_handshakes=number))
    with pytest.raises(ConfigError) as caught:
        bundle(thief, tmp_path / "bundle")
    assert caught.value.reason == "log_rotation_unfinished"
    whole = unguarded(thief, tmp_path / "bundle")
    for known in (cards, cards | {PLATFORM: home.card}):
        assert refusal(whole, known) in {"log_keys_differ", "log_key_retired"}
        assert refusal(thief.log_path, known) == "log_key_retired"


def test_in_an_overlap_the_new_pair_alone_signs_no_whole_log(stage: Stage, tmp_path: Path) -> None:
    cards = trust(stage)
    home = rotate_log_keys(stage.homes[PLATFORM])
    beat(home)
    signed_alone(home, home.card.checkpoint_verifiers.newest.keys)
    whole = bundle(home, tmp_path / "bundle")
    for known in (cards, cards | {PLATFORM: home.card}):
        assert refusal(whole, known) == "checkpoint_invalid"
        assert refusal(home.log_path, known) == "checkpoint_invalid"


def test_the_new_pair_alone_cannot_end_the_overlap(stage: Stage, tmp_path: Path) -> None:
    cards = trust(stage)
    home = rotate_log_keys(stage.homes[PLATFORM])
    old = home.card.verifiers()
    open_log(home).append(retirement_entry(old))
    signed_alone(home, home.card.checkpoint_verifiers.newest.keys)
    beat(home, 2)
    assert refusal(home.log_path, cards) == "checkpoint_invalid"
    assert refusal(home.log_path, cards | {PLATFORM: home.card}) == "checkpoint_invalid"


class Forked:
    """What a thief of a retired pair makes of its own sizes, and what the newest card is by then."""

    def __init__(self, stage: Stage, path: Path) -> None:
        home = retire_log_keys(rotate_log_keys(stage.homes[PLATFORM]))
        self.thief = copied(home, path)
        beat(home, 5)
        self.home = retire_log_keys(rotate_log_keys(home))
        self.cards = trust(stage) | {PLATFORM: self.home.card}
        log = open_log(self.thief)
        while log.size < self.home.card.checkpoint_verifiers.newest.first - 1:
            log.append(Heartbeat(failed_handshakes=666))


def last_proven(home: Home) -> bytes:
    """Return a proof file of the last entry of a home's log."""
    note = (home.log_path / CHECKPOINT).read_bytes()
    last = parse_checkpoint(note).tree_size - 1
    tree = StoredTree(home.log_path, last + 1)
    return LogProof(last, tuple(tree.inclusion_proof(last)), note, tree.entry(last)).serialise()


def test_a_retired_pair_forks_nothing_within_its_own_sizes(stage: Stage, tmp_path: Path) -> None:
    forked = Forked(stage, tmp_path / "thief")
    for name, scope in SCOPES.items():
        whole = bundle(forked.thief, tmp_path / name, scope)
        assert refusal(whole, forked.cards) == "log_head_outdated"
        # A policy that wants no witness vouches for nothing.
        none = policy(forked.home.card.verifiers()[0])
        assert refusal(whole, forked.cards, quorum=none) == "log_head_outdated"
    assert refusal(forked.thief.log_path, forked.cards) == "log_head_outdated"
    keys = forked.home.card.checkpoint_verifiers
    assert check_log_folder(forked.thief.log_path, keys).faults
    for quorum in (None, policy(forked.home.card.verifiers()[0])):
        with pytest.raises(VerificationError) as caught:
            verify_proof(last_proven(forked.thief), forked.cards, quorum=quorum)
        assert caught.value.reason == "log_head_outdated"


def test_an_older_head_that_somebody_trusted_has_cosigned_still_counts(
    stage: Stage, tmp_path: Path
) -> None:
    home = stage.homes[PLATFORM]
    beat(home, 3)
    log = open_log(home)
    note = log.checkpoint()
    early = bundle(home, tmp_path / "early")
    log.add_cosignature(log.size, cosign_head(stage.homes[AUTHORITY], note))
    cosigned = bundle(home, tmp_path / "cosigned")
    copy = copied(home, tmp_path / "copy").log_path
    size = log.size
    cards = trust(stage) | {PLATFORM: rotate_log_keys(home).card}
    assert refusal(early, cards) == "log_head_outdated"
    assert verified(early, trust(stage)) == size
    assert verified(cosigned, cards) == verified(copy, cards) == size
    # Not by just anybody.
    strangers = {PLATFORM: cards[PLATFORM]}
    assert refusal(cosigned, strangers) == refusal(copy, strangers) == "log_head_outdated"


def test_a_proof_from_before_a_rotation_counts_where_somebody_trusted_has_cosigned_its_head(
    stage: Stage,
) -> None:
    home = stage.homes[PLATFORM]
    beat(home, 3)
    early = last_proven(home)
    log = open_log(home)
    log.add_cosignature(log.size, cosign_head(stage.homes[AUTHORITY], log.checkpoint()))
    cosigned = last_proven(home)
    cards = trust(stage) | {PLATFORM: rotate_log_keys(home).card}
    assert verify_proof(cosigned, cards).checkpoint.tree_size == 4
    for proof, known in ((early, cards), (cosigned, {PLATFORM: cards[PLATFORM]})):
        with pytest.raises(VerificationError) as caught:
            verify_proof(proof, known)
        assert caught.value.reason == "log_head_outdated"


def test_a_proof_with_a_wrong_cosignature_of_somebody_trusted_is_refused(stage: Stage) -> None:
    home, liar = stage.homes[PLATFORM], make_party(AUTHORITY, seed=5)
    log = open_log(home)
    proof = LogProof.parse(last_proven(home))
    cosigner = stage.homes[AUTHORITY].card.cosigner_keys()[0]
    lying = replace(cosignature(log.head(), liar.cosigners[0], time=1), key_id=cosigner.key_id)
    note = SignedNote.parse(proof.checkpoint).with_signatures([lying]).serialise()
    with pytest.raises(VerificationError) as caught:
        verify_proof(replace(proof, checkpoint=note).serialise(), trust(stage))
    assert caught.value.reason == "cosignature_invalid"


@pytest.mark.parametrize("time", [0, 1])
def test_a_witness_vouches_for_a_head_from_before_a_rotation_only_at_some_time(
    stage: Stage, tmp_path: Path, time: int
) -> None:
    home, witness = stage.homes[PLATFORM], make_party("witness.example", seed=5).cosigner
    beat(home, 2)
    log = open_log(home)
    log.add_cosignature(log.size, cosign(log.head(), [witness], time=time))
    early, proof, size = bundle(home, tmp_path / "early"), last_proven(home), log.size
    lines = f"log {home.card.verifiers()[0].encode()}\nwitness w {witness.key.encode()}\nquorum w\n"
    quorum, cards = Quorum(lines.encode()), trust(stage)
    # Whatever its time, it is the quorum that the policy asks for.
    assert verified(early, cards, quorum=quorum) == size
    cards |= {PLATFORM: rotate_log_keys(home).card}
    if time:
        assert verified(early, cards, quorum=quorum) == size
        assert verify_proof(proof, cards, quorum=quorum).checkpoint.tree_size == size
        return
    assert refusal(early, cards, quorum=quorum) == "log_head_outdated"
    with pytest.raises(VerificationError) as caught:
        verify_proof(proof, cards, quorum=quorum)
    assert caught.value.reason == "log_head_outdated"


def test_an_empty_log_from_before_a_rotation_counts_for_nothing(
    stage: Stage, tmp_path: Path
) -> None:
    home = stage.homes[PLATFORM]
    signer, pq_signer = home.checkpoint_signers(home.card.verifiers())
    Log.create(tmp_path / "log", origin=home.id, signer=signer, pq_signer=pq_signer)
    cards = trust(stage) | {PLATFORM: rotate_log_keys(home).card}
    assert refusal(tmp_path / "log", cards) == "log_head_outdated"


def in_place_of(stage: Stage, party: str, stolen: Path, path: Path) -> OpenedStage:
    """Return a stage of which one party is a thief's copy, and all else as it is."""
    shutil.copytree(stage.homes[party].path.parent, path)
    shutil.rmtree(path / party)
    shutil.copytree(stolen, path / party)
    return OpenedStage(path)


def asked(stage: Stage) -> Ask:
    return stage.ask(SUSPECTS, protocol=suite.Protocol.ECDH)


def take_newest(stage: Stage, at: str, home: Home) -> None:
    psishare.pin_peer(stage.homes[at], home.export_card(), fingerprint=None, trusted_as=None)
    for side in (stage.platform, stage.authority):
        side.peers = Peers(side.home.peers_path)


def cosigned_sizes(home: Home, by: Card) -> list[int]:
    """Return the sizes of a log that a party has cosigned."""
    notes = [path.read_bytes() for path in (home.log_path / CHECKPOINTS).iterdir()]
    signed = [(parse_checkpoint(note), SignedNote.parse(note)) for note in notes]
    return sorted(c.tree_size for c, note in signed if has_cosigned(note, c, by))


@pytest.mark.parametrize(
    ("robbed", "other"), [(PLATFORM, AUTHORITY), (AUTHORITY, PLATFORM)], ids=[PLATFORM, AUTHORITY]
)
def test_a_peer_that_has_the_newest_card_goes_on_with_no_thief_of_a_retired_pair(
    stage: Stage, tmp_path: Path, robbed: str, other: str
) -> None:
    stage.exchange(stage.responder(stage.listing(CUSTOMERS)), asked(stage))
    home = stage.homes[robbed]
    stolen = copied(home, tmp_path / "stolen").path
    beat(home, 40)
    take_newest(stage, other, retire_log_keys(rotate_log_keys(home)))
    thiefs = in_place_of(stage, robbed, stolen, tmp_path / "thief")
    home, honest = thiefs.homes[robbed], thiefs.homes[other]
    beat(home, 3)
    remembered = Peers(honest.peers_path).checkpoint(robbed)
    before = cosigned_sizes(home, honest.card)
    with pytest.raises(VerificationError) as caught:
        thiefs.exchange(thiefs.responder(thiefs.listing(CUSTOMERS)), asked(thiefs))
    assert caught.value.reason == "log_head_outdated"
    assert Peers(honest.peers_path).checkpoint(robbed) == remembered
    assert cosigned_sizes(home, honest.card) == before
    thiefs.close()


def test_a_parcel_from_before_a_rotation_is_taken_but_its_head_not_cosigned(
    stage: Stage, tmp_path: Path
) -> None:
    gap = AirGap(stage, tmp_path, stage.encode(CUSTOMERS))
    ask = stage.ask(SUSPECTS)
    gap.synchronised(ask)
    answer = gap.answer(gap.request(ask)).parcel
    size = stage.platform.log.size
    take_newest(stage, AUTHORITY, rotate_log_keys(stage.homes[PLATFORM]))
    receipt = gap.finish(SUSPECTS, answer)
    # What is remembered is the head from before, and the parcel back says nothing of it.
    known = stage.authority.peers.checkpoint(PLATFORM)
    assert known is not None
    assert parse_checkpoint(known).tree_size == size
    confirmation = gap.confirm(receipt).parcel
    assert size not in cosigned_sizes(stage.homes[PLATFORM], stage.homes[AUTHORITY].card)
    assert len(gap.release(SUSPECTS, confirmation).matched) == 10
    # The next parcel cosigns what the newest keys have signed.
    gap.answer(gap.request(stage.ask(SUSPECTS)))
    assert max(cosigned_sizes(stage.homes[PLATFORM], stage.homes[AUTHORITY].card)) > size


# What else a bundle says of keys.


def test_a_policy_may_name_any_pair_that_a_verifier_comes_to_know(
    stage: Stage, tmp_path: Path
) -> None:
    cards = trust(stage)
    home = retire_log_keys(rotate_log_keys(stage.homes[PLATFORM]))
    whole = bundle(home, tmp_path / "bundle")
    size = open_log(home).size
    for term in home.card.checkpoint_verifiers.terms:
        quorum = policy(term.keys[0])
        for known in (cards, cards | {PLATFORM: home.card}):
            assert verified(whole, known, quorum=quorum) == size
            assert verified(home.log_path, known, quorum=quorum) == size
    other = policy(make_party(home.id, seed=5).verifiers[0])
    assert refusal(whole, cards, quorum=other) == "quorum_missing"


@pytest.mark.parametrize("later", [False, True])
def test_two_cards_of_one_pin_that_tell_two_pasts_are_no_evidence_but_of_that(
    stage: Stage, tmp_path: Path, later: bool
) -> None:
    copy = copied(stage.homes[PLATFORM], tmp_path / "copy")
    one = rotate_log_keys(stage.homes[PLATFORM])
    other = rotate_log_keys(copy)
    known = one if later else retire_log_keys(one)
    other = retire_log_keys(other) if later else other
    assert (other.card.serial > known.card.serial) == later
    whole = bundle(other, tmp_path / "bundle")
    assert refusal(whole, trust(stage) | {PLATFORM: known.card}) == "log_keys_differ"


# What goes on meanwhile.


def test_a_bundle_written_while_the_keys_are_rotated_verifies(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, cards = stage.homes[PLATFORM], trust(stage)
    beat(opened, 3)
    rotated: list[Home] = []
    write = export._Choice.write

    def rotating(choice: export._Choice, *arguments: Any, **options: Any) -> export.Exported:
        rotated.append(rotate_log_keys(opened))
        return write(choice, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(export._Choice, "write", rotating)
        whole = bundle(opened, tmp_path / "meanwhile")
    assert verified(whole, cards) == 4
    # A process that goes on with the home as it was before exports as any other does.
    for name in ("overlap", "retired"):
        whole = bundle(opened, tmp_path / name)
        for known in (cards, cards | {PLATFORM: opened.reopened().card}):
            assert verified(whole, known) == open_log(opened).size
        if name == "overlap":
            retire_log_keys(rotated[0])


def test_an_export_between_a_rotation_s_entry_and_its_card_waits_for_the_card(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, cards = stage.homes[PLATFORM], trust(stage)
    waits = threading.Event()
    exporting = threading.Thread(target=bundle, args=(home, tmp_path / "bundle"))

    def locked(of: Home) -> Any:
        waits.set()
        return changing_card(of)

    def adopt(of: Home, keys: LogKeys, published: int) -> Home:
        if len(keys.terms) > 1:
            exporting.start()
            assert waits.wait(timeout=60)
        return adopt_log_keys(of, keys, published)

    monkeypatch.setattr(export, "changing_card", locked)
    monkeypatch.setattr(log_rotation, "adopt_log_keys", adopt)
    rotated = rotate_log_keys(home)
    exporting.join(timeout=60)
    for known in (cards, cards | {PLATFORM: rotated.card}):
        assert (
            verified(tmp_path / "bundle", known) >= rotated.card.checkpoint_verifiers.newest.first
        )


def test_a_process_that_looks_for_the_keys_while_the_card_takes_them_over_finds_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = stage.homes[PLATFORM]
    found: list[list[tuple[NoteSigner, NoteSigner]]] = []

    def meanwhile(home: Home, keys: LogKeys, published: int) -> Home:
        if len(keys.terms) < 2:
            return adopt_log_keys(home, keys, published)
        adopted: list[Home] = []
        looking = True

        def then_adopt(read: Callable[[Home], Any]) -> Callable[[Home], Any]:
            def reading(of: Home) -> Any:
                nonlocal looking
                told, first, looking = read(of), looking, False
                if first:
                    adopted.append(adopt_log_keys(home, keys, published))
                return told

            return reading

        with monkeypatch.context() as patch:
            patch.setattr(Home, "reopened", then_adopt(Home.reopened))
            patch.setattr(pairs_file, "_next_pair", then_adopt(pairs_file._next_pair))
            found.append(opened_home._later_pairs(running))
        return adopted[0]

    monkeypatch.setattr(log_rotation, "adopt_log_keys", meanwhile)
    card = rotate_log_keys(stage.homes[PLATFORM]).card
    keys = [tuple(signer.key for signer in pair) for pair in found[0]]
    assert keys == [card.checkpoint_verifiers.newest.keys]


def test_a_log_rotated_as_often_as_a_card_can_tell_verifies_from_its_first_card_on(
    stage: Stage, tmp_path: Path
) -> None:
    cards, home = trust(stage), stage.homes[PLATFORM]
    for _ in range(MAX_PAIRS - 1):
        home = retire_log_keys(rotate_log_keys(home))
    with pytest.raises(ConfigError) as caught:
        rotate_log_keys(home)
    assert caught.value.reason == "log_rotation_spent"
    beat(home)
    peer = psishare.pin_peer(
        stage.homes[AUTHORITY], home.export_card(), fingerprint=None, trusted_as=None
    )
    assert peer.card == home.card
    for name, scope in SCOPES.items():
        whole = bundle(home, tmp_path / name, scope)
        for known in (cards, cards | {PLATFORM: home.card}):
            assert verified(whole, known) == verified(home.log_path, known)
