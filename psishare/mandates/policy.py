"""The policy: the platform's own rules, which only ever narrow what mandates allow.

Read from ``policy.toml``; without that file everything that a mandate allows is allowed. A decision
is a pure function of policy and request (protocols/specs/mandate.md, section 7).
"""

from __future__ import annotations

import tomllib
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from psishare.errors import AuthorisationError, ConfigError
from psishare.mandates.check import CLOCK_TOLERANCE_S
from psishare.mandates.field import Cap, Kind
from psishare.mandates.mandate import Output, ValidatorRole

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.mandates.check import Request
    from psishare.mandates.mandate import Mandate

MAX_BYTES = 1024 * 1024
MAX_CLOCK_TOLERANCE_S = 86_400
MAX_REVOCATION_AGE_S = 366 * 86_400


class Policy(BaseModel):
    """What a platform allows beyond what mandates demand.

    Attributes:
        version: the format's version, 1.
        min_rows: the fewest rows of an exchange.
        max_rows_per_exchange: the most, or None.
        kinds: the kinds that may be asked about, or None for all.
        outputs: the outputs that may be asked for, or None for all.
        clock_tolerance_s: by how much an authority's clock may differ.
        emergency: whether a mandate that says so may lack its validator's signature at first.
        revocation_max_age_s: how old an issuer's revocation list may be; None where the platform
            does not insist on having one.
        validator_roles: in what capacities a validator may sign, or None for all.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    version: Literal[1] = 1
    min_rows: Annotated[int, Field(ge=0)] = 0
    max_rows_per_exchange: Cap | None = None
    kinds: Annotated[frozenset[Kind], Field(min_length=1)] | None = None
    outputs: Annotated[frozenset[Output], Field(min_length=1)] | None = None
    clock_tolerance_s: Annotated[int, Field(ge=0, le=MAX_CLOCK_TOLERANCE_S)] = CLOCK_TOLERANCE_S
    emergency: bool = False
    revocation_max_age_s: Annotated[int, Field(ge=1, le=MAX_REVOCATION_AGE_S)] | None = None
    validator_roles: Annotated[frozenset[ValidatorRole], Field(min_length=1)] | None = None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a policy file; where there is none, the default.

        Raises:
            ConfigError: ``policy_invalid``; names the key that is wrong.
        """
        try:
            text = path.read_text(encoding="utf-8")
            fields = tomllib.loads(text) if len(text) <= MAX_BYTES else None
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError):
            raise _invalid(path, "it cannot be read as TOML") from None
        if fields is None or "version" not in fields:
            raise _invalid(path, "it must say `version = 1`")
        try:
            return cls.model_validate({name: _sets(value) for name, value in fields.items()})
        except ValidationError as error:
            keys = sorted({str(found["loc"][0]) for found in error.errors()})
            raise _invalid(path, f"wrong or unknown: {', '.join(keys)}") from None

    @property
    def revocation_max_age(self) -> timedelta | None:
        """How old an issuer's revocation list may be; None where none needs to be there."""
        seconds = self.revocation_max_age_s
        return None if seconds is None else timedelta(seconds=seconds)

    def require_validator_role(self, mandate: Mandate) -> None:
        """Refuse a mandate whose validator signs in a capacity that does not suffice here.

        Raises:
            AuthorisationError: ``policy_validator_role``.
        """
        if self.validator_roles is not None and mandate.validator_role not in self.validator_roles:
            raise _refused(
                "policy_validator_role", f"a mandate that a {mandate.validator_role} validates"
            )

    def decide(self, request: Request) -> None:
        """Allow an exchange that its mandate covers, or refuse it.

        Raises:
            AuthorisationError: ``policy_min_rows``, ``policy_max_rows``, ``policy_kind`` or
                ``policy_output``, the first rule that fails.
        """
        if request.rows < self.min_rows:
            raise _refused("policy_min_rows", f"fewer than {self.min_rows} rows in an exchange")
        most = self.max_rows_per_exchange
        if most is not None and request.rows > most:
            raise _refused("policy_max_rows", f"more than {most} rows in an exchange")
        if self.kinds is not None and request.kind not in self.kinds:
            raise _refused("policy_kind", "exchanges about this kind")
        if self.outputs is not None and request.output not in self.outputs:
            raise _refused("policy_output", "this output")


def _sets(value: object) -> object:
    """Return TOML's arrays as the sets that they stand for."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return frozenset(value)
    return value


def _refused(reason: str, what: str) -> AuthorisationError:
    return AuthorisationError(
        f"the platform's policy does not allow {what}",
        mend="Ask for what the policy allows, or ask the platform to change it.",
        reason=reason,
    )


def _invalid(path: Path, message: str) -> ConfigError:
    return ConfigError(
        f"the policy {path} is not valid: {message}",
        mend="Correct the file; protocols/specs/mandate.md, section 7, lists every key.",
        reason="policy_invalid",
    )
