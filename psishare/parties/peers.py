"""The peers that a party has pinned, what it trusts each as, and the last head of each one's log.

One file a peer, one file a head, written durably. A head outlives the removal of its peer, so that
removing and adding a peer does not make an older log pass.
Source: protocols/specs/card.md, sections 6 and 7.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from psishare.errors import ConfigError, PsishareError
from psishare.keys import canonical
from psishare.keys.durable_file import sync_folder, write_durably
from psishare.parties.card import Card, parse_card, replaces
from psishare.parties.field import Base64, Time, write_time
from psishare.parties.fingerprint import require_fingerprint
from psishare.parties.revoked_peer import SUFFIX as REVOKED_SUFFIX
from psishare.parties.revoked_peer import (
    RevokedFile,
    RevokedPeer,
    require_unrevoked,
    was_revoked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Trust = Literal["approver", "issuer", "validator"]
TRUSTS = frozenset({"approver", "issuer", "validator"})
MAX_FILE_BYTES = 1024 * 1024
_CARD_SUFFIX = ".peer.json"
_HEAD_SUFFIX = ".head.json"
_LOCK_FILE = ".lock"


_Seen = tuple[str, int, int, int, int]
"""A file's name, inode number, size, and the times of its last changes, nanoseconds."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A pinned party.

    Attributes:
        card: its card, signed by the pinned key.
        trusted_as: roles in which its signature on a mandate counts here.
        added: when it was pinned, ``YYYY-MM-DDThh:mm:ssZ``.
    """

    card: Card
    trusted_as: frozenset[str]
    added: str

    @property
    def id(self) -> str:
        """The party's id."""
        return self.card.id


class _PeerFile(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    version: Literal[1]
    added: Time
    trusted_as: list[Trust]
    card_file: Base64


class _HeadFile(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    version: Literal[1]
    pin: str
    size: int
    note: Base64


class Peers:
    """The pinned parties of a home folder, as they were when this object was made or reloaded.

    Args:
        path: the folder ``peers`` of a home.

    Raises:
        ConfigError: ``peers_invalid``, a file in it is not as it must be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._peers: dict[str, Peer] = {}
        self._revoked: dict[str, RevokedPeer] = {}
        self._seen: tuple[_Seen, ...] = ()
        self.reload()

    def refresh(self) -> None:
        """Read the folder anew if a file in it is another than when it was read last.

        Files are replaced and never written to, so that another one has another inode number, or was
        made at another time. Cheap enough for every call.

        Raises:
            ConfigError: as ``reload``.
        """
        if self._look() != self._seen:
            self.reload()

    def _look(self) -> tuple[_Seen, ...]:
        """Return what tells each file of the folder that counts from any other."""
        found = []
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    if entry.name.endswith((_CARD_SUFFIX, REVOKED_SUFFIX)):
                        # Another process may remove a file between the listing and the look.
                        with contextlib.suppress(FileNotFoundError):
                            found.append(_seen(entry))
        except OSError as error:
            raise self._invalid(self._path.name, error.strerror or "it cannot be read") from None
        return tuple(sorted(found))

    def reload(self) -> None:
        """Read the folder anew: what other processes have added and removed.

        Raises:
            ConfigError: ``peers_invalid``; the peers stay as they were.
        """
        # Looked at first: what changes while it is read is seen the next time.
        seen = self._look()
        peers, revoked = {}, {}
        for name, *_rest in seen:
            # Another process may remove a peer between the listing and the reading.
            with contextlib.suppress(FileNotFoundError):
                if name.endswith(REVOKED_SUFFIX):
                    gone = self._load_revoked(name)
                    revoked[gone.id] = gone
                else:
                    peer = self._load(name)
                    peers[peer.id] = peer
        # A crash between the two steps of a revocation leaves both files: it is revoked.
        self._peers = {id_: peer for id_, peer in peers.items() if id_ not in revoked}
        self._revoked = revoked
        self._seen = seen

    def __iter__(self) -> Iterator[Peer]:
        return iter(sorted(self._peers.values(), key=lambda peer: peer.id))

    def __len__(self) -> int:
        return len(self._peers)

    def get(self, party_id: str) -> Peer:
        """Return a pinned party.

        Raises:
            ConfigError: ``peer_unknown``; ``peer_revoked``.
        """
        if party_id in self._revoked:
            raise was_revoked(self._revoked[party_id])
        peer = self._peers.get(party_id)
        if peer is None:
            raise ConfigError(
                f"{party_id} is not a party that is pinned here",
                mend="Get its card and fingerprint, and add it with `psishare peer add`.",
                reason="peer_unknown",
            )
        return peer

    def revoked(self) -> tuple[RevokedPeer, ...]:
        """Return the peers that are revoked, by id."""
        return tuple(sorted(self._revoked.values(), key=lambda peer: peer.id))

    def card_files(self) -> dict[str, bytes]:
        """Return the card file of every party that is pinned or was revoked, by id.

        Raises:
            ConfigError: ``peers_invalid``.
        """
        pinned = {id_: self._card_file(id_, _CARD_SUFFIX, _PeerFile) for id_ in self._peers}
        return pinned | {
            id_: self._card_file(id_, REVOKED_SUFFIX, RevokedFile) for id_ in self._revoked
        }

    def by_certificate(self, certificate_sha256: bytes) -> Peer | None:
        """Return the party whose current or next certificate has this SHA-256, or None."""
        for peer in self._peers.values():
            if certificate_sha256 in peer.card.certificate_digests():
                return peer
        return None

    def trusted(self, role: Trust) -> dict[str, bytes]:
        """Return the Ed25519 keys, 32 bytes, of the parties trusted in a role, by party id."""
        return {
            peer.id: peer.card.log_key for peer in self._peers.values() if role in peer.trusted_as
        }

    def add(
        self,
        card_file: bytes,
        *,
        fingerprint: str | None,
        trusted_as: frozenset[str] | None = None,
        reinstate: bool = False,
    ) -> Peer:
        """Pin a party, or take a newer card of one that is pinned.

        Args:
            card_file: as ``psishare party export`` wrote it.
            fingerprint: twelve words, as a person heard them from the card's owner; None where the
                pinned key is to vouch for its newer card.
            trusted_as: any of ``approver``, ``issuer`` and ``validator``; replaces what was there. None leaves it,
                and is nothing for a party that is new.
            reinstate: whether a party that was revoked is meant to come back.

        Raises:
            ConfigError: the card is malformed or wrongly signed; ``fingerprint_missing``;
                ``fingerprint_mismatch``; ``card_changed``; ``peer_revoked``; ``peer_key_shared``,
                another peer has its key or certificate; ``trust_unknown``; ``peers_unwritable``. Nothing
                is changed.
        """
        if not (trusted_as or frozenset()) <= TRUSTS:
            raise ConfigError(
                "a peer can be trusted as issuer or validator of mandates or approver of offers, as nothing else",
                mend="Use `issuer`, `validator`, `approver`, several of them or none.",
                reason="trust_unknown",
            )
        card = parse_card(card_file)
        if fingerprint is not None:
            require_fingerprint(card.log_key, fingerprint, party=card.id)
        with self._changing():
            if not reinstate:
                require_unrevoked(self.revoked(), card)
            known = self._peers.get(card.id)
            if known is not None:
                replaces(known.card, card)
                kept = known.trusted_as if trusted_as is None else trusted_as
                return self._store(card_file, card, kept, known.added)
            if fingerprint is None:
                raise _fingerprint_missing(card)
            added = write_time(datetime.now(UTC))
            peer = self._store(card_file, card, trusted_as or frozenset(), added)
            self._forgive(card)
            return peer

    def remove(self, party_id: str) -> Peer:
        """Forget a pinned party and return it; the last head of its log is kept.

        Raises:
            ConfigError: ``peer_unknown``; ``peers_unwritable``.
        """
        with self._changing():
            peer = self.get(party_id)
            self._unlink(party_id, _CARD_SUFFIX)
            self._peers = {id_: kept for id_, kept in self._peers.items() if id_ != party_id}
            return peer

    def revoke(self, party_id: str) -> RevokedPeer:
        """Refuse a pinned party from now on, and let it not be added again by accident.

        One that is revoked already stays so.

        Raises:
            ConfigError: ``peer_unknown``; ``peers_unwritable``.
        """
        with self._changing():
            if party_id in self._revoked:
                return self._revoked[party_id]
            peer = self.get(party_id)
            card_file = self._card_file(party_id, _CARD_SUFFIX, _PeerFile)
            encoded = base64.b64encode(card_file).decode("ascii")
            document = RevokedFile(
                version=1, revoked=write_time(datetime.now(UTC)), card_file=encoded
            )
            # First what refuses it, then what let it in: no crash leaves it pinned.
            self._write(self._file(party_id, REVOKED_SUFFIX), document)
            gone = RevokedPeer(peer.card, document.revoked)
            self._revoked = {**self._revoked, party_id: gone}
            self._unlink(party_id, _CARD_SUFFIX)
            self._peers = {id_: kept for id_, kept in self._peers.items() if id_ != party_id}
            return gone

    def kept(self, party_id: str) -> bytes | None:
        """Return the bytes of a pinned party's file, to put them back; None where it is not pinned."""
        with contextlib.suppress(FileNotFoundError):
            return self._file(party_id, _CARD_SUFFIX).read_bytes()
        return None

    def put_back(self, party_id: str, kept: bytes | None) -> None:
        """Let a party be pinned as it was before a change that could not be completed.

        Raises:
            ConfigError: ``peers_unwritable``.
        """
        with self._locked():
            if kept is None:
                self._unlink(party_id, _CARD_SUFFIX)
            else:
                path = self._file(party_id, _CARD_SUFFIX)
                write_durably(path, kept, error=ConfigError, reason="peers_unwritable")
            self.reload()

    def remember_checkpoint(
        self, party_id: str, note: bytes, size: int, *, since: int | None = None
    ) -> bool:
        """Keep a head of a peer's log that has been verified to extend the one kept before.

        A smaller one than is kept changes nothing: two exchanges at once may end in either order.

        Args:
            party_id: whose log.
            note: the checkpoint, a signed note.
            size: its tree size.
            since: the size of the head that it was verified to extend; where another one is kept by
                now nothing is changed, for the two may contradict each other.

        Returns:
            Whether it is kept.

        Raises:
            ConfigError: ``peer_unknown``; ``peers_unwritable``, it is not kept.
        """
        pin = _pin(self.get(party_id).card)
        with self._locked():
            kept = self._head(party_id)
            known = kept.size if kept is not None and kept.pin == pin else 0
            if known > size or (since is not None and since != known):
                return False
            head = _HeadFile(
                version=1, pin=pin, size=size, note=base64.b64encode(note).decode("ascii")
            )
            self._write(self._file(party_id, _HEAD_SUFFIX), head)
            return True

    def checkpoint(self, party_id: str) -> bytes | None:
        """Return the last verified head of a peer's log under its pinned key, or None.

        Raises:
            ConfigError: ``peer_unknown``; ``peers_invalid``.
        """
        peer = self.get(party_id)
        head = self._head(party_id)
        if head is None or head.pin != _pin(peer.card):
            return None
        return base64.b64decode(head.note)

    def _store(self, card_file: bytes, card: Card, trusted_as: frozenset[str], added: str) -> Peer:
        self._require_unshared(card)
        document = _PeerFile.model_validate(
            {
                "version": 1,
                "added": added,
                "trusted_as": sorted(trusted_as),
                "card_file": base64.b64encode(card_file).decode("ascii"),
            }
        )
        self._write(self._file(card.id, _CARD_SUFFIX), document)
        peer = Peer(card, trusted_as, added)
        self._peers = {**self._peers, card.id: peer}
        return peer

    def _forgive(self, card: Card) -> None:
        """Forget the revocations that a reinstated party had fallen under."""
        for gone in self.revoked():
            if gone.is_kin_of(card):
                self._unlink(gone.id, REVOKED_SUFFIX)
                self._revoked = {i: kept for i, kept in self._revoked.items() if i != gone.id}

    def _unlink(self, party_id: str, suffix: str) -> None:
        try:
            self._file(party_id, suffix).unlink(missing_ok=True)
            sync_folder(self._path)
        except OSError as error:
            raise self._unwritable(error) from None

    def _require_unshared(self, card: Card) -> None:
        """Keep apart what is told apart by key (roles in mandates) and by certificate (callers)."""
        digests = set(card.certificate_digests())
        for other in self._peers.values():
            if other.id == card.id:
                continue
            if other.card.log_key == card.log_key or digests.intersection(
                other.card.certificate_digests()
            ):
                raise ConfigError(
                    f"the card of {card.id} has a key or certificate of {other.id}",
                    mend="Each party needs keys of its own; ask which of the two cards is wrong.",
                    reason="peer_key_shared",
                    party=card.id,
                )

    def _load(self, name: str) -> Peer:
        try:
            fields = self._fields(name)
            document = _PeerFile.model_validate(fields)
            card = parse_card(base64.b64decode(document.card_file))
        except PsishareError as error:
            raise self._invalid(name, error.message) from None
        except ValidationError:
            raise self._invalid(name, "it does not have the fields of a pinned peer") from None
        if self._file(card.id, _CARD_SUFFIX).name != name:
            raise self._invalid(name, "it holds another party's card")
        return Peer(card, frozenset(document.trusted_as), document.added)

    def _card_file(self, party_id: str, suffix: str, form: type[_PeerFile | RevokedFile]) -> bytes:
        name = self._file(party_id, suffix).name
        try:
            document = form.model_validate(self._fields(name))
        except (FileNotFoundError, PsishareError, ValidationError):
            raise self._invalid(name, "it does not have the fields of a pinned peer") from None
        return base64.b64decode(document.card_file)

    def _load_revoked(self, name: str) -> RevokedPeer:
        try:
            gone = RevokedPeer.parse(RevokedFile.model_validate(self._fields(name)))
        except PsishareError as error:
            raise self._invalid(name, error.message) from None
        except ValidationError:
            raise self._invalid(name, "it does not have the fields of a revoked peer") from None
        if self._file(gone.id, REVOKED_SUFFIX).name != name:
            raise self._invalid(name, "it holds another party's card")
        return gone

    def _head(self, party_id: str) -> _HeadFile | None:
        name = self._file(party_id, _HEAD_SUFFIX).name
        try:
            return _HeadFile.model_validate(self._fields(name))
        except FileNotFoundError:
            return None
        except PsishareError as error:
            raise self._invalid(name, error.message) from None
        except ValidationError:
            raise self._invalid(name, "it does not have the fields of a log's head") from None

    def _fields(self, name: str) -> dict[str, Any]:
        try:
            data = (self._path / name).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._invalid(name, error.strerror or "it cannot be read") from None
        return canonical.loads(data, max_bytes=MAX_FILE_BYTES, what="the file")

    def _write(self, path: Path, document: BaseModel) -> None:
        data = canonical.dumps(document.model_dump(mode="json"))
        write_durably(path, data, error=ConfigError, reason="peers_unwritable")

    def _file(self, party_id: str, suffix: str) -> Path:
        # An id holds no underscore, so that no two ids have one file name.
        return self._path / (party_id.replace("/", "_") + suffix)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the folder's lock over a change that starts from what lies in it now."""
        with self._locked():
            self.reload()
            yield

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            lock = os.open(self._path / _LOCK_FILE, flags, 0o600)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"{self._path} cannot be changed: {error.strerror or type(error).__name__}",
            mend="Check free space and permissions there.",
            reason="peers_unwritable",
        )

    def _invalid(self, name: str, fault: str) -> ConfigError:
        return ConfigError(
            f"{self._path / name} is not as it must be: {fault}",
            mend="Restore it from a backup, or remove the file and add the peer again.",
            reason="peers_invalid",
        )


def _fingerprint_missing(card: Card) -> ConfigError:
    return ConfigError(
        f"{card.id} is not pinned here yet, so its card needs the fingerprint",
        mend="Give the twelve words, as the card's owner read them to you, with --fingerprint.",
        reason="fingerprint_missing",
        party=card.id,
    )


def _seen(file: os.DirEntry[str]) -> _Seen:
    at = file.stat(follow_symlinks=False)
    return file.name, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns


def _pin(card: Card) -> str:
    return hashlib.sha256(card.log_key).hexdigest()
