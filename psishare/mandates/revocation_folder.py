"""The revocation lists that a party holds: the newest of each issuer and validator, never an older one.

One file a party. What is held is verified again with the pinned key whenever it is read, so that a
file that somebody put there counts for nothing. Source: protocols/specs/mandate.md, section 10.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from typing import TYPE_CHECKING

from psishare.errors import AuditError, AuthorisationError, ConfigError, VerificationError
from psishare.keys.durable_file import write_durably
from psishare.mandates.revocation import (
    MAX_BYTES,
    RevocationList,
    read_revocations,
    verify_revocations,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta
    from pathlib import Path

    from psishare.mandates.envelope import TrustedKeys
    from psishare.mandates.mandate import Mandate

SUFFIX = ".revocations"
_LOCK_FILE = ".revocations.lock"


class RevocationFolder:
    """Revocation lists in a folder, shared by the processes of one host.

    Args:
        path: the folder; it exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: dict[str, tuple[tuple[int, int, int], bytes, RevocationList]] = {}

    def take(self, data: bytes, trusted: TrustedKeys, *, now: datetime) -> bool:
        """Verify a list and keep it in the place of its party's older one.

        Args:
            data: the file's bytes.
            trusted: the keys of the issuers and validators that are trusted here.
            now: with a time zone.

        Returns:
            Whether it is new; False where the very same list is held already.

        Raises:
            VerificationError: ``revocations_malformed``, ``signature_invalid``,
                ``revocations_untrusted``, ``revocations_older`` (a newer one is held),
                ``revocations_incomplete`` (it lacks what the held one withdrew) or
                ``revocations_future``. What is held stays.
            AuditError: ``state_write_failed``.
        """
        revocations = self._verify(data, trusted)
        if revocations.issued > now:
            raise _unfit(
                revocations,
                "was issued after this machine's clock",
                "Set the clock, or wait.",
                reason="revocations_future",
            )
        with self._changing():
            held = self._held(revocations.party, trusted)
            if held is not None:
                if held == revocations:
                    return False
                _require_newer(held, revocations)
            self._write(revocations.party, data)
        return True

    def _held(self, party: str, trusted: TrustedKeys) -> RevocationList | None:
        """Return the list that a newer one is to follow; one that no longer verifies is none.

        It may be damaged, or of a key that the party had before; until it is replaced every mandate of
        that party is refused.
        """
        try:
            return self.get(party, trusted)
        except VerificationError:
            return None

    def own(self, party: str) -> RevocationList | None:
        """Return the newest list that a party has made itself, from its own home."""
        data = self._load(party)
        return None if data is None else read_revocations(data)

    def keep_own(self, party: str, data: bytes) -> None:
        """Keep a list that this home's party has made, durably.

        Raises:
            AuditError: ``state_write_failed``.
        """
        with self._changing():
            self._write(party, data)

    def get(self, party: str, trusted: TrustedKeys) -> RevocationList | None:
        """Return a party's newest list, verified, or None where none is held.

        Raises:
            VerificationError: what is held does not verify.
            ConfigError: ``revocations_unreadable``.
        """
        path = self._file(party)
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from error
        stamp = status.st_mtime_ns, status.st_ino, status.st_size
        key = trusted.issuers.get(party) or trusted.validators.get(party) or b""
        known = self._read.get(party)
        if known is not None and known[:2] == (stamp, key):
            return known[2]
        data = self._load(party)
        if data is None:
            return None
        revocations = self._verify(data, trusted)
        if revocations.party != party:
            raise _unfit(
                revocations,
                "lies in the place of another party's",
                "Import the right one.",
                reason="revocations_malformed",
            )
        self._read[party] = stamp, key, revocations
        return revocations

    def require_not_revoked(
        self, mandate: Mandate, trusted: TrustedKeys, *, now: datetime, max_age: timedelta | None
    ) -> None:
        """Refuse a mandate that its issuer or validator has withdrawn, or may have.

        Args:
            mandate: verified.
            trusted: the keys of the issuers and validators that are trusted here.
            now: with a time zone.
            max_age: how old a list may be; None where none needs to be held.

        Raises:
            AuthorisationError: ``mandate_revoked``; ``mandate_revocations_stale``, the issuer's list
                is missing, one that is held is too old, or one cannot be read: what cannot be known
                is not allowed.
        """
        try:
            revoker = self.revoker(mandate, trusted)
        except (VerificationError, ConfigError) as error:
            raise _stale(mandate.issuer, "or its validator's cannot be used") from error
        if revoker is not None:
            raise AuthorisationError(
                f"{revoker} has revoked the mandate",
                mend="Ask the issuer for another mandate.",
                reason="mandate_revoked",
                party=revoker,
            )
        for party in (mandate.issuer, mandate.validator):
            held = self.get(party, trusted)
            self._require_fresh(party, held, now=now, max_age=max_age, due=party == mandate.issuer)

    def revoker(self, mandate: Mandate, trusted: TrustedKeys) -> str | None:
        """Return which of a mandate's issuer and validator has withdrawn it, or None.

        Raises:
            VerificationError: a list that is held does not verify.
            ConfigError: ``revocations_unreadable``.
        """
        for party in (mandate.issuer, mandate.validator):
            held = self.get(party, trusted)
            if held is not None and held.revokes(mandate.id):
                return party
        return None

    def _require_fresh(
        self,
        party: str,
        held: RevocationList | None,
        *,
        now: datetime,
        max_age: timedelta | None,
        due: bool,
    ) -> None:
        if max_age is None:
            return
        if held is None:
            if due:
                raise _stale(party, "has not been imported")
        elif now - held.issued > max_age:
            raise _stale(party, f"is of {held.issued:%Y-%m-%dT%H:%M:%SZ}, which is too old")

    def _verify(self, data: bytes, trusted: TrustedKeys) -> RevocationList:
        party = read_revocations(data).party
        key = trusted.issuers.get(party) or trusted.validators.get(party)
        if key is None:
            raise VerificationError(
                f"{party} is trusted here neither as issuer nor as validator of mandates",
                mend="If it should be, add its card with `psishare peer add --trust issuer`.",
                reason="revocations_untrusted",
                party=party,
            )
        return verify_revocations(data, key)

    def _load(self, party: str) -> bytes | None:
        path = self._file(party)
        try:
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from error

    def _write(self, party: str, data: bytes) -> None:
        write_durably(self._file(party), data, error=AuditError, reason="state_write_failed")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Take turns with the other processes of this host."""
        try:
            lock = os.open(self._path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AuditError(
                f"{self._path} cannot be changed: {error.strerror or type(error).__name__}",
                mend="Check free space and permissions there, then try again.",
                reason="state_write_failed",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _file(self, party: str) -> Path:
        # A party's id may hold what a file's name may not.
        return self._path / f"{hashlib.sha256(party.encode()).hexdigest()}{SUFFIX}"


def _require_newer(held: RevocationList, new: RevocationList) -> None:
    if new.sequence <= held.sequence or new.issued < held.issued:
        raise _unfit(
            new,
            f"is number {new.sequence}; number {held.sequence} is held here",
            "Import its newest list.",
            reason="revocations_older",
        )
    if not new.keeps(held):
        raise _unfit(
            new,
            "lacks a mandate that the one before had withdrawn",
            "Ask that party what happened; nothing that was revoked comes back.",
            reason="revocations_incomplete",
        )


def _unfit(revocations: RevocationList, fault: str, mend: str, *, reason: str) -> VerificationError:
    return VerificationError(
        f"the revocation list of {revocations.party} {fault}",
        mend=mend,
        reason=reason,
        party=revocations.party,
    )


def _stale(party: str, fault: str) -> AuthorisationError:
    return AuthorisationError(
        f"the revocation list of {party} {fault}",
        mend="The platform's operator imports its newest one with `psishare mandate import`.",
        reason="mandate_revocations_stale",
        party=party,
    )


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} cannot be read: {error.strerror or type(error).__name__}",
        mend="Check the disk and the permissions of the folder of mandates.",
        reason="revocations_unreadable",
    )
