"""What the log commits to with a salt: the operator of an exchange, the reference of a mandate's case.

Opened, salt and value prove what was committed to. Shredded, the salt is gone: the log verifies as before,
and the value cannot be found by trying names, for each would need every salt.
"""

from __future__ import annotations

import contextlib
import hmac
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare.errors import AuditError, ConfigError, VerificationError
from psishare.exchange.offer import operator_commitment
from psishare.exchange.opening import (
    COURT_FILE_NAME,
    FILE_NAME,
    keep_opening,
    seal_opening,
    unseal_opening,
)
from psishare.keys.durable_file import sync_folder
from psishare.mandates.case_reference import CaseReference

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psishare.mandates.mandate import Mandate
    from psishare.parties.home import Home

MAX_SEALED_BYTES = 128 * 1024
SHREDDED_SALT = bytes(32)
"""What stands in an opening whose operator has been shredded."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A value and the salt with which it was committed to, 32 bytes."""

    value: str
    salt: bytes
    commitment: bytes


def open_operator(home: Home, exchange_id: str, commitment: bytes) -> Opened:
    """Open the name of an exchange's operator from the authority's own opening.

    Args:
        home: the authority's.
        exchange_id: 64 hexadecimal digits.
        commitment: as the offer, and the log, have it; 32 bytes.

    Raises:
        ConfigError: ``opening_missing``; ``commitment_shredded``.
        VerificationError: the opening does not open here, or is not what the log commits to.
    """
    sealed = _read(home.exchanges_path / exchange_id / FILE_NAME)
    opening = unseal_opening(sealed, bytes.fromhex(exchange_id), home.sealing_key())
    salt = bytes.fromhex(opening.operator_salt)
    if salt == SHREDDED_SALT:
        raise ConfigError(
            "the salt of this operator's name has been destroyed",
            mend="It cannot be opened any more; that was the purpose.",
            reason="commitment_shredded",
        )
    opened = Opened(opening.operator, salt, commitment)
    require_operator(opened)
    return opened


def require_operator(opened: Opened) -> None:
    """Require a name and a salt to be what an offer commits to.

    Raises:
        VerificationError: ``commitment_differs``.
    """
    made = operator_commitment(opened.value, opened.salt)
    if not hmac.compare_digest(made, opened.commitment):
        raise _differs("the operator's name")


def shred_operator(home: Home, exchange_id: str) -> bool:
    """Destroy the name and salt of an exchange's operator; seed and list can still be opened.

    Returns:
        Whether a copy that is sealed to a court, which only the court can open, still holds them.

    Raises:
        ConfigError: ``opening_missing``.
        VerificationError: the opening does not open here.
        AuditError: the disk refuses; the opening is as it was.
    """
    folder = home.exchanges_path / exchange_id
    path = folder / FILE_NAME
    identity = bytes.fromhex(exchange_id)
    opening = unseal_opening(_read(path), identity, home.sealing_key())
    shredded = opening.model_copy(update={"operator": "", "operator_salt": SHREDDED_SALT.hex()})
    with _doomed(path):
        keep_opening(path, seal_opening(shredded, identity, home.card.sealing_key_bytes))
    return (folder / COURT_FILE_NAME).is_file()


def open_case(home: Home, mandate: Mandate) -> Opened:
    """Open the case reference that a mandate commits to, at whoever drafted it.

    Raises:
        ConfigError: ``opening_missing``, it is not kept here, or has been shredded.
        VerificationError: the file does not open here, or is not what the mandate commits to.
    """
    commitment = bytes.fromhex(mandate.case_commitment)
    sealed = _read(_case_file(home, mandate))
    case = CaseReference.open(sealed, home.sealing_key(), commitment=commitment)
    return Opened(case.reference, case.salt, commitment)


def shred_case(home: Home, mandate: Mandate) -> None:
    """Destroy the case reference and the salt that a mandate commits to.

    Raises:
        ConfigError: ``opening_missing``.
        AuditError: the disk refuses.
    """
    path = _case_file(home, mandate)
    _read(path)
    with _doomed(path):
        pass
    try:
        path.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error


def _case_file(home: Home, mandate: Mandate) -> Path:
    return home.mandates_path / f"{mandate.id}.case"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_SEALED_BYTES)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror or type(error).__name__}",
            mend="Use the home of whoever made the commitment; what was shredded is gone for good.",
            reason="opening_missing",
        ) from error


@contextlib.contextmanager
def _doomed(path: Path) -> Iterator[None]:
    """Hold the old content of a file that is replaced meanwhile, and overwrite it afterwards."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield
        _fill(descriptor)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        os.close(descriptor)


def _fill(descriptor: int) -> None:
    """Overwrite a file in place. What the disk or a backup keeps of it elsewhere stays there."""
    rest = os.urandom(os.fstat(descriptor).st_size)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def _differs(what: str) -> VerificationError:
    return VerificationError(
        f"{what} is not what was committed to",
        mend="Take name and salt as `psishare audit open` printed them.",
        reason="commitment_differs",
    )


def _unwritable(path: Path, error: OSError) -> AuditError:
    return AuditError(
        f"{path} cannot be shredded: {error.strerror or type(error).__name__}",
        mend="Check the disk and the permissions there, then try again.",
        reason="shred_failed",
    )
