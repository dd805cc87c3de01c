"""Which of a new party's log keys are to be in a token or a service, and behind which signer.

Source: protocols/specs/key-file.md, section 6.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psishare.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.keys.signer import Algorithm

ALGORITHMS: tuple[Algorithm, ...] = ("ed25519", "ml-dsa-44")
MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class SignerChoice:
    """A signer that keeps a log key elsewhere.

    Attributes:
        name: an entry point of the group ``psishare.signers``, or ``process``.
        settings: what it is told; no secrets.
    """

    name: str
    settings: dict[str, str] = field(default_factory=dict)


def read_signer_choices(path: Path) -> dict[Algorithm, SignerChoice]:
    """Read a file of choices: TOML, a table for each algorithm, ``signer`` and its settings in it.

    Raises:
        ConfigError: ``signers_invalid``.
    """
    try:
        with path.open("rb") as file:
            tables = tomllib.loads(file.read(MAX_BYTES).decode("utf-8"))
    except (OSError, ValueError):
        raise _invalid(path, "cannot be read as TOML") from None
    if not tables or not tables.keys() <= set(ALGORITHMS):
        raise _invalid(path, f"has other tables than {' and '.join(ALGORITHMS)}")
    return {
        algorithm: _choice(path, tables[algorithm])
        for algorithm in ALGORITHMS
        if algorithm in tables
    }


def _choice(path: Path, table: Any) -> SignerChoice:
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise _invalid(path, "has a setting that is no text")
    if not table.get("signer"):
        raise _invalid(path, "has a table without a signer")
    settings = {name: value for name, value in table.items() if name != "signer"}
    return SignerChoice(table["signer"], settings)


def _invalid(path: Path, fault: str) -> ConfigError:
    return ConfigError(
        f"the file of signers {path} {fault}",
        mend="Write a table [ed25519] or [ml-dsa-44], or both, with `signer` and its settings.",
        reason="signers_invalid",
    )
