"""The opening: with it an authority can later prove what it asked (exchange.md, section 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from psishare.errors import AuditError
from psishare.exchange.document import Digest, Document, Rows
from psishare.keys.durable_file import make_folder, write_durably
from psishare.keys.sealing import Unsealer, seal

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from psishare import _native
    from psishare.parties.home import Home

INFO = b"psishare/opening/v1"
FILE_NAME = "opening.sealed"
COURT_FILE_NAME = "opening.court.sealed"


class Opening(Document):
    """The sealed secret of one exchange. Never printed, never sent to the platform."""

    version: Literal[1] = 1
    protocol: Literal["oprf", "ecdh", "openmined"]
    seed: Digest
    input_root: Digest
    rows: Rows
    operator: Annotated[str, Field(max_length=256)]
    operator_salt: Digest

    @classmethod
    def of_platform(cls, protocol: str, seed: _native.Seed, root: bytes, rows: int) -> Self:
        """Return what a platform commits to: its list, and no operator."""
        return cls.model_validate(
            {
                "protocol": protocol,
                "seed": seed.secret_bytes().hex(),
                "input_root": root.hex(),
                "rows": rows,
                "operator": "",
                "operator_salt": bytes(32).hex(),
            }
        )

    def __repr__(self) -> str:
        """Return the type's name alone."""
        return "Opening(<redacted>)"

    __str__ = __repr__


def seal_opening(opening: Opening, exchange_id: bytes, public_key: bytes) -> bytes:
    """Seal an opening to a party's HPKE key, bound to the exchange."""
    return seal(public_key, opening.document(), info=INFO, aad=exchange_id)


def unseal_opening(sealed: bytes, exchange_id: bytes, key: Unsealer) -> Opening:
    """Open a sealed opening.

    Raises:
        VerificationError: it was sealed to another key or for another exchange, or is damaged.
    """
    return Opening.parse(key.open(sealed, info=INFO, aad=exchange_id))


def read_opening(path: Path) -> bytes:
    """Return a sealed opening as it was kept.

    Raises:
        AuditError: ``state_write_failed``: it is gone or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise AuditError(
            f"{path} cannot be read: {error.strerror or type(error).__name__}",
            mend="Check the disk and the permissions; without the opening the exchange cannot go on.",
            reason="state_write_failed",
        ) from error


def keep_opening(path: Path, sealed: bytes) -> None:
    """Keep a sealed opening, durably, in the folder of its exchange.

    Raises:
        AuditError: ``state_write_failed``: the disk is full or fails.
    """
    try:
        make_folder(path.parent)
    except OSError as error:
        raise AuditError(
            f"{path.parent} cannot be made: {error.strerror or type(error).__name__}",
            mend="Check free space and permissions there, then start a new exchange.",
            reason="state_write_failed",
        ) from error
    write_durably(path, sealed, error=AuditError, reason="state_write_failed")


def keep_own_opening(home: Home, opening: Opening, exchange_id: bytes) -> None:
    """Keep an opening of a party's own, sealed to itself, durably (exchange.md, section 11).

    Raises:
        AuditError: ``state_write_failed``: the disk is full or fails.
    """
    sealed = seal_opening(opening, exchange_id, home.card.sealing_key_bytes)
    keep_opening(home.exchange_path(exchange_id) / FILE_NAME, sealed)


def own_opening(home: Home, exchange_id: bytes) -> Opening:
    """Return the opening of a party's own that it kept of an exchange.

    Raises:
        AuditError: ``state_write_failed``: it is gone or cannot be read.
        VerificationError: it is not this exchange's, or is damaged.
    """
    sealed = read_opening(home.exchange_path(exchange_id) / FILE_NAME)
    return unseal_opening(sealed, exchange_id, home.sealing_key())
