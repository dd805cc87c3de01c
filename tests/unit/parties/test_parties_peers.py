"""Peers: pinning, trust, replacing cards, remembered heads."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING

import pytest
from party_examples import (
    AUTHORITY,
    PLATFORM,
    base64_of,
    card_file,
    card_of,
    certificate_of,
    changed,
    signer_of,
)

from psishare.errors import ConfigError
from psishare.keys.note_key import NoteKey, SignatureType
from psishare.keys.signer import Ed25519Signer
from psishare.parties.card import sign_card
from psishare.parties.peers import Peers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from psishare.parties.card import Card
    from psishare.parties.peers import Peer


@pytest.fixture
def peers(tmp_path: Path) -> Peers:
    return Peers(tmp_path)


def add(peers: Peers, card: Card, *trusts: str) -> Peer:
    return peers.add(card_file(card), fingerprint=card.fingerprint(), trusted_as=frozenset(trusts))


def refused(peers: Peers, data: bytes, fingerprint: str) -> str:
    before = list(peers)
    with pytest.raises(ConfigError) as caught:
        peers.add(data, fingerprint=fingerprint)
    assert list(peers) == before
    return caught.value.reason


def other_key_card(serial: int = 9) -> tuple[Card, Ed25519Signer]:
    """Return a card of the same id under another key, with its signer."""
    signer = Ed25519Signer.generate()
    key = NoteKey(PLATFORM, SignatureType.ED25519, signer.public_key)
    log_keys = {"ed25519": key.encode(), "ml_dsa_44": card_of().log_keys.ml_dsa_44}
    return changed(card_of(), serial=serial, log_keys=log_keys), signer


def test_pinned_peer_is_found_by_id_and_by_certificate(peers: Peers, tmp_path: Path) -> None:
    added = add(peers, card_of(), "issuer")
    for known in (peers, Peers(tmp_path)):
        assert known.get(PLATFORM) == added
        assert known.by_certificate(card_of().certificate_digests()[0]) == added
        assert list(known) == [added]
        assert len(known) == 1


def test_unknown_party_is_not_found(peers: Peers) -> None:
    assert peers.by_certificate(bytes(32)) is None
    with pytest.raises(ConfigError) as caught:
        peers.get(PLATFORM)
    assert caught.value.reason == "peer_unknown"


def test_peer_is_found_by_its_next_certificate(peers: Peers) -> None:
    tls = {
        "current": base64_of(certificate_of(PLATFORM)),
        "next": base64_of(certificate_of(PLATFORM, number=2)),
    }
    card = changed(card_of(), tls=tls)
    add(peers, card)
    assert all(peers.by_certificate(digest) for digest in card.certificate_digests())


def test_peer_is_not_pinned_without_its_fingerprint(peers: Peers) -> None:
    wrong = card_of(AUTHORITY).fingerprint()
    assert refused(peers, card_file(card_of()), wrong) == "fingerprint_mismatch"
    assert refused(peers, card_file(card_of()), "") == "fingerprint_malformed"


def test_trust_is_kept_role_by_role(peers: Peers, tmp_path: Path) -> None:
    add(peers, card_of(), "issuer")
    add(peers, card_of(AUTHORITY), "validator")
    for known in (peers, Peers(tmp_path)):
        assert known.trusted("issuer") == {PLATFORM: signer_of(PLATFORM).public_key}
        assert known.trusted("validator") == {AUTHORITY: signer_of(AUTHORITY).public_key}


def test_pinned_peer_is_trusted_as_nothing_unless_said(peers: Peers) -> None:
    add(peers, card_of())
    assert peers.trusted("issuer") == peers.trusted("validator") == {}


def test_trust_in_other_roles_is_refused(peers: Peers) -> None:
    with pytest.raises(ConfigError) as caught:
        add(peers, card_of(), "king")
    assert caught.value.reason == "trust_unknown"


def test_adding_again_changes_trust(peers: Peers) -> None:
    first = add(peers, card_of(), "issuer")
    again = add(peers, card_of())
    assert again.trusted_as == frozenset()
    assert again.added == first.added


def test_renewed_card_keeps_trust_and_needs_no_fingerprint(peers: Peers, tmp_path: Path) -> None:
    add(peers, card_of(), "issuer")
    newer = changed(card_of(), serial=2, display_name="New name")
    renewed = peers.add(card_file(newer), fingerprint=None)
    assert renewed.card == newer
    assert renewed.trusted_as == {"issuer"}
    assert Peers(tmp_path).get(PLATFORM) == renewed
    assert peers.add(card_file(newer), fingerprint=None) == renewed


def test_older_card_is_refused(peers: Peers) -> None:
    newer = changed(card_of(), serial=2)
    add(peers, newer)
    assert refused(peers, card_file(card_of()), card_of().fingerprint()) == "card_changed"
    with pytest.raises(ConfigError):
        peers.add(card_file(card_of()), fingerprint=None)


def test_card_under_another_key_is_refused_with_its_right_fingerprint(peers: Peers) -> None:
    add(peers, card_of())
    card, signer = other_key_card()
    assert refused(peers, sign_card(card, signer), card.fingerprint()) == "card_changed"
    with pytest.raises(ConfigError):
        peers.add(sign_card(card, signer), fingerprint=None)


def test_only_a_pinned_peer_needs_no_fingerprint(peers: Peers) -> None:
    with pytest.raises(ConfigError) as caught:
        peers.add(card_file(card_of()), fingerprint=None)
    assert caught.value.reason == "fingerprint_missing"


def test_two_parties_with_one_key_are_refused(peers: Peers) -> None:
    add(peers, card_of())
    twin = card_of(AUTHORITY)
    signer = signer_of(PLATFORM)
    key = NoteKey(AUTHORITY, SignatureType.ED25519, signer.public_key)
    log_keys = {"ed25519": key.encode(), "ml_dsa_44": twin.log_keys.ml_dsa_44}
    data = sign_card(changed(twin, log_keys=log_keys), signer)
    assert refused(peers, data, card_of().fingerprint()) == "peer_key_shared"


def test_removed_peer_is_forgotten(peers: Peers, tmp_path: Path) -> None:
    add(peers, card_of(), "issuer")
    assert peers.remove(PLATFORM).id == PLATFORM
    for known in (peers, Peers(tmp_path)):
        assert list(known) == []
        assert known.trusted("issuer") == {}
    with pytest.raises(ConfigError) as caught:
        peers.remove(PLATFORM)
    assert caught.value.reason == "peer_unknown"


def test_change_by_another_process_is_seen_after_reload(peers: Peers, tmp_path: Path) -> None:
    other = Peers(tmp_path)
    add(other, card_of())
    assert len(peers) == 0
    peers.reload()
    assert len(peers) == 1


def test_change_starts_from_what_others_have_stored(peers: Peers, tmp_path: Path) -> None:
    add(Peers(tmp_path), changed(card_of(), serial=2))
    assert refused_after_reload(peers) == "card_changed"


def test_refresh_sees_every_change_of_another_process_and_reads_nothing_without_one(
    peers: Peers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Peers(tmp_path)
    add(elsewhere, card_of())
    peers.refresh()
    assert [peer.id for peer in peers] == [PLATFORM]
    add(elsewhere, card_of(), "issuer")
    peers.refresh()
    assert peers.get(PLATFORM).trusted_as == {"issuer"}
    monkeypatch.setattr(Peers, "reload", lambda _self: pytest.fail("read without a change"))
    peers.refresh()
    monkeypatch.undo()
    elsewhere.remove(PLATFORM)
    peers.refresh()
    assert len(peers) == 0


def test_refresh_of_a_folder_that_is_damaged_keeps_the_peers_and_tries_again(
    peers: Peers, tmp_path: Path
) -> None:
    add(peers, card_of())
    peers.refresh()
    file = next(tmp_path.glob("*.peer.json"))
    whole = file.read_bytes()
    file.write_bytes(b"{}")
    for _ in range(2):
        with pytest.raises(ConfigError):
            peers.refresh()
        assert [peer.id for peer in peers] == [PLATFORM]
    file.write_bytes(whole)
    peers.refresh()
    assert [peer.id for peer in peers] == [PLATFORM]


def refused_after_reload(peers: Peers) -> str:
    with pytest.raises(ConfigError) as caught:
        add(peers, card_of())
    return caught.value.reason


def test_peer_s_files_are_their_owners_alone(peers: Peers, tmp_path: Path) -> None:
    add(peers, card_of(AUTHORITY))
    peers.remember_checkpoint(AUTHORITY, b"note", 1)
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_ids_with_slashes_stay_in_the_folder(peers: Peers, tmp_path: Path) -> None:
    for party_id in ("a/../../b", "a/b", "a.b"):
        add(peers, card_of(party_id))
    assert [peer.id for peer in Peers(tmp_path)] == sorted(["a/../../b", "a/b", "a.b"])
    assert not any(path.is_dir() for path in tmp_path.iterdir())


def test_last_head_of_a_log_is_remembered(peers: Peers, tmp_path: Path) -> None:
    add(peers, card_of())
    assert peers.checkpoint(PLATFORM) is None
    peers.remember_checkpoint(PLATFORM, b"first", 4)
    peers.remember_checkpoint(PLATFORM, b"second", 6)
    assert Peers(tmp_path).checkpoint(PLATFORM) == b"second"


def test_smaller_head_does_not_replace_a_larger(peers: Peers) -> None:
    add(peers, card_of())
    peers.remember_checkpoint(PLATFORM, b"larger", 6)
    peers.remember_checkpoint(PLATFORM, b"smaller", 4)
    assert peers.checkpoint(PLATFORM) == b"larger"
    peers.remember_checkpoint(PLATFORM, b"larger, cosigned", 6)
    assert peers.checkpoint(PLATFORM) == b"larger, cosigned"


def test_head_outlives_removal_under_the_same_key_only(peers: Peers) -> None:
    add(peers, card_of())
    peers.remember_checkpoint(PLATFORM, b"note", 6)
    peers.remove(PLATFORM)
    add(peers, card_of())
    assert peers.checkpoint(PLATFORM) == b"note"
    peers.remove(PLATFORM)
    card, signer = other_key_card()
    peers.add(sign_card(card, signer), fingerprint=card.fingerprint())
    assert peers.checkpoint(PLATFORM) is None
    peers.remember_checkpoint(PLATFORM, b"anew", 1)
    assert peers.checkpoint(PLATFORM) == b"anew"


def test_head_of_an_unknown_party_is_not_kept(peers: Peers) -> None:
    with pytest.raises(ConfigError):
        peers.remember_checkpoint(PLATFORM, b"note", 1)
    with pytest.raises(ConfigError):
        peers.checkpoint(PLATFORM)


def test_heads_remembered_at_once_end_with_the_largest(peers: Peers, tmp_path: Path) -> None:
    add(peers, card_of())
    others = [Peers(tmp_path) for _ in range(4)]

    def remember(known: Peers, start: int) -> None:
        for size in range(start, 60, 4):
            known.remember_checkpoint(PLATFORM, str(size).encode(), size)

    threads = [
        threading.Thread(target=remember, args=(known, start))
        for start, known in enumerate(others, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert peers.checkpoint(PLATFORM) == b"59"


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"version":1}'])
@pytest.mark.parametrize("suffix", [".peer.json", ".head.json"])
def test_damaged_file_is_refused(peers: Peers, tmp_path: Path, data: bytes, suffix: str) -> None:
    add(peers, card_of())
    (tmp_path / (PLATFORM + suffix)).write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        Peers(tmp_path).checkpoint(PLATFORM)
    assert caught.value.reason == "peers_invalid"


def test_card_under_another_party_s_file_name_is_refused(peers: Peers, tmp_path: Path) -> None:
    add(peers, card_of())
    (tmp_path / f"{PLATFORM}.peer.json").rename(tmp_path / "bank.example.peer.json")
    with pytest.raises(ConfigError) as caught:
        Peers(tmp_path)
    assert caught.value.reason == "peers_invalid"


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Peers(tmp_path / "nowhere")
    assert caught.value.reason == "peers_invalid"


def test_full_disk_pins_nobody(
    peers: Peers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("psishare.keys.durable_file.os.fsync", fail)
    with pytest.raises(ConfigError) as caught:
        add(peers, card_of())
    assert caught.value.reason == "peers_unwritable"
    assert len(peers) == 0
    assert len(Peers(tmp_path)) == 0


# revoking


def revoked_reason(act: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        act()
    return caught.value.reason


def test_a_revoked_peer_is_known_no_more_and_stays_out(peers: Peers, tmp_path: Path) -> None:
    add(peers, card_of(), "issuer")
    gone = peers.revoke(PLATFORM)
    assert gone.card == card_of()
    for known in (peers, Peers(tmp_path)):
        assert list(known) == []
        assert known.trusted("issuer") == {}
        assert known.by_certificate(card_of().certificate_digests()[0]) is None
        assert [each.id for each in known.revoked()] == [PLATFORM]
        assert revoked_reason(functools.partial(known.get, PLATFORM)) == "peer_revoked"
    newer = changed(card_of(), serial=2)
    for card in (card_of(), newer):
        assert refused(peers, card_file(card), card.fingerprint()) == "peer_revoked"
    assert revoked_reason(lambda: peers.add(card_file(newer), fingerprint=None)) == "peer_revoked"
    assert revoked_reason(lambda: peers.remove(PLATFORM)) == "peer_revoked"
    assert peers.revoke(PLATFORM) == gone
    assert peers.card_files() == {PLATFORM: card_file(card_of())}


def test_a_revoked_key_does_not_come_back_under_another_id(peers: Peers) -> None:
    add(peers, card_of())
    peers.revoke(PLATFORM)
    key = NoteKey(AUTHORITY, SignatureType.ED25519, card_of().log_key)
    log_keys = {"ed25519": key.encode(), "ml_dsa_44": card_of(AUTHORITY).log_keys.ml_dsa_44}
    twin = changed(card_of(AUTHORITY), log_keys=log_keys)
    data = sign_card(twin, signer_of(PLATFORM))
    assert refused(peers, data, twin.fingerprint()) == "peer_revoked"


def test_a_revoked_party_does_not_come_back_under_another_key_by_accident(peers: Peers) -> None:
    add(peers, card_of())
    peers.revoke(PLATFORM)
    card, signer = other_key_card()
    data = sign_card(card, signer)
    assert refused(peers, data, card.fingerprint()) == "peer_revoked"
    reason = revoked_reason(lambda: peers.add(data, fingerprint=None, reinstate=True))
    assert reason == "fingerprint_missing"
    back = peers.add(data, fingerprint=card.fingerprint(), reinstate=True)
    assert back.trusted_as == frozenset()
    assert (list(peers), peers.revoked()) == ([back], ())


def test_a_revocation_that_was_cut_off_halfway_counts(peers: Peers, tmp_path: Path) -> None:
    add(peers, card_of(), "issuer")
    (pinned,) = tmp_path.glob("*.peer.json")
    data = pinned.read_bytes()
    peers.revoke(PLATFORM)
    pinned.write_bytes(data)
    again = Peers(tmp_path)
    assert (list(again), [gone.id for gone in again.revoked()]) == ([], [PLATFORM])


def test_nobody_who_is_not_pinned_is_revoked(peers: Peers) -> None:
    assert revoked_reason(lambda: peers.revoke(PLATFORM)) == "peer_unknown"


@pytest.mark.parametrize("damage", [b"{}", b"", b'{"version":2}'])
def test_a_damaged_revocation_lets_nobody_in(peers: Peers, tmp_path: Path, damage: bytes) -> None:
    add(peers, card_of())
    peers.revoke(PLATFORM)
    (file,) = tmp_path.glob("*.revoked.json")
    file.write_bytes(damage)
    assert revoked_reason(lambda: Peers(tmp_path)) == "peers_invalid"
