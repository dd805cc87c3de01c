"""A home folder in use: its log, its certificate, its role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psishare.audit.log import Log
from psishare.errors import ConfigError
from psishare.exchange.register import known_log_size
from psishare.parties.log_rotation import key_pairs
from psishare.transport.certificate import TlsIdentity

if TYPE_CHECKING:
    from psishare.keys.note_key import NoteSigner
    from psishare.parties.home import Home


LOGGING_ROLES = frozenset({"platform", "authority"})
"""The roles that keep a log."""


def log_size(home: Home) -> int | None:
    """Return how many entries the party's log has, or None where its role keeps none.

    Args:
        home: of any role.

    Raises:
        AuditError: it does not recover.
    """
    return open_log(home).size if home.card.role in LOGGING_ROLES else None


def open_log(home: Home) -> Log:
    """Open a party's log.

    Raises:
        AuditError: it does not recover; ``log_rolled_back``, the home's own exchanges tell of more.
    """
    known_size = known_log_size(home.state_path)
    return Log.open(
        home.log_path,
        known_size=known_size,
        later=lambda: _later_pairs(home),
        **log_signers(home),
    )


def tls_identity(home: Home) -> TlsIdentity:
    """Return a party's certificate and key as the transport takes them."""
    identity = home.tls_identity()
    return TlsIdentity(identity.cert_pem, identity.key_pem)


def require_role(home: Home, role: str) -> None:
    """Refuse to do with one party's home what another role does.

    Raises:
        ConfigError: the home is of another role.
    """
    if home.card.role != role:
        raise ConfigError(
            f"{home.id} is of role {home.card.role}; this is done by a party of role {role}",
            mend=f"Use --home with the folder of a party of role {role}.",
            reason="role_unfit",
        )


def log_signers(home: Home) -> dict[str, Any]:
    """Return origin and first signers of a party's log, as ``Log`` takes them.

    No secret is read before something is signed: who only reads a log needs no passphrase.
    """
    signer, pq_signer = home.checkpoint_signers(home.card.verifiers())
    return {
        "origin": home.id,
        "signer": signer,
        "pq_signer": pq_signer,
    }


def _later_pairs(home: Home) -> list[tuple[NoteSigner, NoteSigner]]:
    """Return the pairs that followed the first, as the home has them now."""
    return [home.checkpoint_signers(pair) for pair in key_pairs(home)[1:]]
