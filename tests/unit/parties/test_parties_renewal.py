"""Renewal: new keys under the same pin, with no moment at which a peer is cut off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from party_examples import PLATFORM, make_home

from psishare.errors import ConfigError, VerificationError
from psishare.keys.passphrase import Passphrase, given
from psishare.keys.sealing import seal
from psishare.parties import card_change
from psishare.parties.card import replaces
from psishare.parties.expiry import Expiry
from psishare.parties.home import Home
from psishare.parties.peers import Peers
from psishare.parties.renewal import announce_certificate, renew_sealing_key, switch_certificate

if TYPE_CHECKING:
    from pathlib import Path

INFO = b"psishare/test/v1"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def peers(tmp_path: Path, home: Home) -> Peers:
    """Return the peers of somebody who has pinned the home's party with its first card."""
    (tmp_path / "peers").mkdir()
    peers = Peers(tmp_path / "peers")
    peers.add(home.export_card(), fingerprint=home.card.fingerprint())
    return peers


def certificate(home: Home) -> bytes:
    return home.tls_identity().certificate_sha256


def test_the_next_certificate_is_named_beside_the_current_one_under_the_same_pin(
    home: Home,
) -> None:
    renewed = announce_certificate(home)
    assert replaces(home.card, renewed.card)
    assert renewed.card.fingerprint() == home.card.fingerprint()
    assert renewed.card.serial == 2
    assert renewed.card.certificates()[0] == home.card.certificates()[0]
    assert len(renewed.card.certificates()) == 2
    assert certificate(renewed) == certificate(home)
    assert Home.open(home.path).card == renewed.card


def test_at_every_step_whoever_has_the_card_before_accepts_the_certificate(
    home: Home, peers: Peers
) -> None:
    announced = announce_certificate(home)
    assert peers.by_certificate(certificate(announced)) is not None
    peers.add(announced.export_card(), fingerprint=None)
    switched = switch_certificate(announced)
    assert certificate(switched) != certificate(announced)
    assert peers.by_certificate(certificate(switched)) is not None
    peers.add(switched.export_card(), fingerprint=None)
    assert peers.by_certificate(certificate(switched)) is not None
    assert peers.by_certificate(home.card.certificate_digests()[0]) is None
    third = switch_certificate(announce_certificate(switched))
    assert third.card.serial == 5
    assert certificate(Home.open(home.path)) == certificate(third)


def test_a_switch_destroys_the_old_key_and_leaves_the_new_one(home: Home) -> None:
    before = set(home.keys_path.glob("tls*.json"))
    switched = switch_certificate(announce_certificate(home))
    after = set(home.keys_path.glob("tls*.json"))
    assert (len(before), len(after), before & after) == (1, 1, set())
    assert certificate(switched) == switched.card.certificate_digests()[0]


def test_steps_out_of_order_are_refused_and_change_nothing(home: Home) -> None:
    with pytest.raises(ConfigError) as caught:
        switch_certificate(home)
    assert caught.value.reason == "renewal_missing"
    renewed = announce_certificate(home)
    with pytest.raises(ConfigError) as again:
        announce_certificate(renewed)
    assert again.value.reason == "renewal_pending"
    assert Home.open(home.path).card == renewed.card


def test_a_home_that_was_opened_before_a_renewal_renews_from_the_card_as_it_is(home: Home) -> None:
    announce_certificate(home)
    assert switch_certificate(home).card.serial == 3


def test_a_renewal_that_is_cut_off_leaves_the_card_and_its_keys_in_use(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_named: object) -> None:
        raise ConfigError("full", mend="free space", reason="home_unwritable")

    for change in (announce_certificate, renew_sealing_key):
        with monkeypatch.context() as patch:
            patch.setattr(card_change, "write_durably", full)
            with pytest.raises(ConfigError):
                change(home)
        opened = Home.open(home.path)
        assert opened.card == home.card
        assert certificate(opened) == certificate(home)
        assert opened.sealing_key().public_key == home.card.sealing_key_bytes
    assert announce_certificate(home).card.serial == 2


def test_what_was_sealed_before_a_new_sealing_key_opens_and_so_does_what_is_sealed_after(
    home: Home, tmp_path: Path
) -> None:
    before = seal(home.card.sealing_key_bytes, b"before", info=INFO, aad=b"")
    renewed = renew_sealing_key(renew_sealing_key(home))
    assert renewed.card.serial == 3
    after = seal(renewed.card.sealing_key_bytes, b"after", info=INFO, aad=b"")
    keys = Home.open(home.path).sealing_key()
    assert keys.open(before, info=INFO, aad=b"") == b"before"
    assert keys.open(after, info=INFO, aad=b"") == b"after"
    assert "redacted" in repr(keys)
    other = make_home(tmp_path / "other")
    with pytest.raises(VerificationError):
        other.sealing_key().open(before, info=INFO, aad=b"")


def test_an_encrypted_home_renews_and_its_new_keys_are_encrypted_too(tmp_path: Path) -> None:
    passphrase = Passphrase("correct horse battery staple")
    home = Home.init(
        tmp_path / "home",
        id=PLATFORM,
        role="platform",
        display_name="P",
        passphrase=passphrase,
    )
    switched = switch_certificate(announce_certificate(renew_sealing_key(home)))
    with pytest.raises(ConfigError) as caught:
        Home.open(home.path, passphrase=given(None)).tls_identity()
    assert caught.value.reason == "passphrase_missing"
    opened = Home.open(home.path, passphrase=given(passphrase))
    assert certificate(opened) == certificate(switched)
    assert b'"protection":"none"' not in b"".join(path.read_bytes() for path in home.key_files())


# expiry


@pytest.mark.parametrize(("days", "warned"), [(61, False), (59, True), (1, True), (-1, True)])
def test_an_owner_is_warned_sixty_days_before_and_told_what_to_do(
    tmp_path: Path, days: int, warned: bool
) -> None:
    home = Home.init(
        tmp_path / "home", id=PLATFORM, role="platform", display_name="P", certificate_days=90
    )
    now = datetime.now(UTC) + timedelta(days=90 - days)
    own, peer = Expiry.of(home.card).own_warning(now), Expiry.of(home.card).peer_warning(now)
    assert (own is not None, peer is not None) == (warned, warned)
    if own is not None and peer is not None:
        assert PLATFORM in own
        assert "party renew" in own
        assert "newer card" in peer
        assert ("expired on" in own) == (days < 0)


def test_once_the_next_certificate_is_out_only_its_owner_is_reminded(tmp_path: Path) -> None:
    home = Home.init(
        tmp_path / "home", id=PLATFORM, role="platform", display_name="P", certificate_days=30
    )
    expiry, now = Expiry.of(announce_certificate(home).card), datetime.now(UTC)
    assert "--switch" in (expiry.own_warning(now) or "")
    assert expiry.peer_warning(now) is None
    assert Expiry.of(switch_certificate(home).card).own_warning(now) is None
