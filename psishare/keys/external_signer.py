"""Signers whose key is elsewhere: in a PKCS#11 token, in a key service, in another process.

A signer is named by an entry point of the group ``psishare.signers``. Whatever it is, its public key is
held against the one expected, and each of its signatures is verified before it is used: a token that
signs wrongly must not reach a log. Source: protocols/specs/key-file.md, section 6.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol, Self

from psishare.errors import ConfigError, PsishareError, VerificationError
from psishare.keys.signer import verify_ed25519, verify_ml_dsa_44
from psishare.keys.signer_process import SignerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psishare.keys.signer import Algorithm, Signer

GROUP = "psishare.signers"
BUILT_IN = "process"
_VERIFY = {"ed25519": verify_ed25519, "ml-dsa-44": verify_ml_dsa_44}


class SignerFactory(Protocol):
    """What an entry point of the group is: it returns a signer."""

    def __call__(self, algorithm: Algorithm, settings: Mapping[str, str]) -> Signer:
        """Return a signer.

        Args:
            algorithm: what it must sign with.
            settings: what the party's key file says to it; no secrets.
        """
        ...


class ExternalSigner:
    """A signer that is not trusted to sign rightly. Prints no settings.

    Made by ``load``.
    """

    def __init__(self, name: str, inner: Signer, algorithm: Algorithm, public_key: bytes) -> None:
        self._name = name
        self._inner = inner
        self.algorithm = algorithm
        self.public_key = public_key

    @classmethod
    def load(
        cls,
        name: str,
        settings: Mapping[str, str],
        *,
        algorithm: Algorithm,
        public_key: bytes | None = None,
    ) -> Self:
        """Return the signer that an entry point makes.

        Args:
            name: the entry point's.
            settings: what it is told.
            algorithm: what it must sign with.
            public_key: the key that it must have; None where it is to be learnt.

        Raises:
            ConfigError: ``signer_unknown``, no such entry point; ``signer_failed``, it makes no signer,
                or one of another algorithm or key.
        """
        factory = _factory(name)
        try:
            inner = factory(algorithm, settings)
            found, own = inner.algorithm, bytes(inner.public_key)
        except PsishareError:
            raise
        except Exception as error:
            raise _failed(name, f"cannot be used ({type(error).__name__})") from error
        if found != algorithm or (public_key is not None and own != public_key):
            raise _failed(name, "has another key than this party's")
        return cls(name, inner, algorithm, own)

    def sign(self, message: bytes) -> bytes:
        """Return the signature over a message, verified.

        Raises:
            ConfigError: ``signer_failed``.
        """
        try:
            signature = bytes(self._inner.sign(message))
        except PsishareError:
            raise
        except Exception as error:
            raise _failed(self._name, f"did not sign ({type(error).__name__})") from error
        try:
            _VERIFY[self.algorithm](self.public_key, message, signature)
        except VerificationError:
            raise _failed(self._name, "signed wrongly") from None
        return signature

    def __repr__(self) -> str:
        return f"ExternalSigner({self._name!r}, {self.algorithm!r}, <redacted>)"


def _factory(name: str) -> SignerFactory:
    if name == BUILT_IN:
        return SignerProcess.open
    found = tuple(entry_points(group=GROUP, name=name))
    if len(found) != 1:
        raise ConfigError(
            f"{len(found)} installed packages offer the signer {name!r}",
            mend="Install the one package that offers it, in the environment of psishare.",
            reason="signer_unknown",
        )
    try:
        loaded: SignerFactory = found[0].load()
    except Exception as error:
        raise _failed(name, f"cannot be loaded ({type(error).__name__})") from error
    return loaded


def _failed(name: str, fault: str) -> ConfigError:
    return ConfigError(
        f"the signer {name!r} {fault}",
        mend="Look at the token or service behind it and at the settings in the key file.",
        reason="signer_failed",
    )
