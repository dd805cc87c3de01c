"""The policy: the platform's own rules, which only ever narrow what mandates allow.

Read from ``policy.toml``; without that file everything that a mandate allows is allowed, but for
emergencies, which a policy has to allow. What the rules make of a request is ``policy_rule``'s to say.
Source: protocols/specs/mandate.md, section 7.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from psishare.errors import AuthorisationError, ConfigError
from psishare.mandates.check import CLOCK_TOLERANCE_S
from psishare.mandates.field import Cap, DatasetName, Kind, PartyId
from psishare.mandates.mandate import Output, Protocol, ValidatorRole
from psishare.mandates.rule import Rule

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.mandates.mandate import Mandate

MAX_BYTES = 1024 * 1024
MAX_CLOCK_TOLERANCE_S = 86_400
DAY_MINUTES = 24 * 60
TICKET_HOURS = 72
MAX_TICKET_HOURS = 24 * 366
MAX_REVOCATION_AGE_S = 366 * 86_400
MAX_EPOCH_DAYS = 3_660
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)


def _set(value: object) -> object:
    """Return one of TOML's arrays as the set that it stands for."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return frozenset(value)
    return value


def _require_zone(name: str) -> str:
    try:
        _zone(name)
    except (KeyError, OSError, ValueError):
        raise ValueError("not a time zone") from None
    return name


def _zone(name: str) -> tzinfo:
    # Of UTC every system knows, the data of time zones may be missing.
    return UTC if name == "UTC" else ZoneInfo(name)


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _require_clock(text: str) -> str:
    if _minutes(text) > DAY_MINUTES:
        raise ValueError("not a time of day")
    return text


_Filled = Field(min_length=1)
_Set = BeforeValidator(_set)
Parties = Annotated[frozenset[PartyId], _Filled, _Set]
Kinds = Annotated[frozenset[Kind], _Filled, _Set]
Outputs = Annotated[frozenset[Output], _Filled, _Set]
Protocols = Annotated[frozenset[Protocol], _Filled, _Set]
Datasets = Annotated[frozenset[DatasetName], _Filled, _Set]
Roles = Annotated[frozenset[ValidatorRole], _Filled, _Set]
Weekdays = Annotated[frozenset[Weekday], _Filled, _Set]
Clock = Annotated[
    str, Field(pattern=r"^([01][0-9]|2[0-4]):[0-5][0-9]$"), AfterValidator(_require_clock)
]
Share = Annotated[Decimal, Field(gt=0, le=1, allow_inf_nan=False)]
Zone = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_require_zone)]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class PerDay(_Table):
    """What is allowed on one day of the policy's time zone; None: no cap.

    Attributes:
        rows: of everyone together.
        exchanges: likewise.
        rows_per_authority: of each authority.
        exchanges_per_authority: likewise.
        rows_per_kind: about each kind.
        exchanges_per_kind: likewise.
    """

    rows: Cap | None = None
    exchanges: Cap | None = None
    rows_per_authority: Cap | None = None
    exchanges_per_authority: Cap | None = None
    rows_per_kind: Cap | None = None
    exchanges_per_kind: Cap | None = None


class Hours(_Table):
    """Hours in which exchanges may open, on some days of the week, in the policy's time zone.

    Attributes:
        days: the days of the week.
        opens: the first minute, ``08:00``.
        closes: the minute after the last, ``18:00``; ``24:00`` for the end of the day.
    """

    days: Weekdays = frozenset(WEEKDAYS)
    opens: Clock = "00:00"
    closes: Clock = "24:00"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if _minutes(self.closes) <= _minutes(self.opens):
            raise ValueError("closes is not after opens")
        return self

    def hold(self, local: datetime) -> bool:
        """Tell whether a time, of the policy's time zone, lies within."""
        minute = local.hour * 60 + local.minute
        day = WEEKDAYS[local.weekday()]
        return day in self.days and _minutes(self.opens) <= minute < _minutes(self.closes)


class Emergency(_Table):
    """Whether an emergency's mandate may lack its validator's signature at first, and how far it reaches.

    Attributes:
        allowed: whether it may.
        authorities: whose, or None for every authority that the policy allows.
        max_rows: the most rows of one exchange, or None.
        outside_hours: whether the opening hours do not bind it.
    """

    allowed: bool = False
    authorities: Parties | None = None
    max_rows: Cap | None = None
    outside_hours: bool = False


class Validators(_Table):
    """Which validators are good enough for what.

    Attributes:
        roles: one of these the validator has to be.
        kinds: for exchanges about these kinds; None: about every kind.
        outputs: for these outputs; None: for every output.
    """

    roles: Roles
    kinds: Kinds | None = None
    outputs: Outputs | None = None


class Approval(_Table):
    """Which offers are held until a second operator has approved them: those that meet one of these.

    Attributes:
        always: every offer.
        above_rows: those of more rows than this.
        kinds: those about these kinds.
        outputs: those for these outputs.
        authorities: those of these authorities.
        emergency: those under an emergency's mandate that its validator has not signed yet.
        approvers: who may approve, of those that are trusted as approvers; None: each of them.
        ticket_hours: for how long an offer stays held.
    """

    always: bool = False
    above_rows: Annotated[int, Field(ge=0)] | None = None
    kinds: Kinds | None = None
    outputs: Outputs | None = None
    authorities: Parties | None = None
    emergency: bool = False
    approvers: Parties | None = None
    ticket_hours: Annotated[int, Field(ge=1, le=MAX_TICKET_HOURS)] = TICKET_HOURS


class Policy(_Table):
    """What a platform allows beyond what mandates demand; None: whatever a mandate allows.

    Attributes:
        version: the format's version, 1.
        timezone: the name of the zone whose days and hours count, such as ``Europe/Berlin``.
        clock_tolerance_s: by how much an authority's clock may differ.
        revocation_max_age_s: how old an issuer's revocation list may be; None where the platform
            does not insist on having one.
        issuers, authorities: whose mandates, and who may ask.
        kinds, outputs, protocols, datasets: what may be asked, how, of what.
        validator_roles: in what capacities a validator may sign at all.
        validators: which validators are good enough for what.
        approved_lists: ``sealed`` where only sealed requests are taken, ``committed`` where a
            mandate has to approve one list in either way.
        min_rows: the fewest rows of an exchange.
        max_rows_per_exchange: the most.
        max_share_of_dataset: the most rows of an exchange, as a share of the dataset's.
        max_epoch_days: for how many days after it began an epoch of a dataset is delivered and asked.
        max_rows_per_mandate: the most rows under one mandate, whatever it says itself.
        max_exchanges_per_mandate: the most exchanges, likewise.
        per_day: caps for each day.
        hours: when exchanges may open; any one of them; None: at any time.
        emergency: whether emergency mandates are taken.
        approval: what a second operator has to approve.
    """

    version: Literal[1] = 1
    timezone: Zone = "UTC"
    clock_tolerance_s: Annotated[int, Field(ge=0, le=MAX_CLOCK_TOLERANCE_S)] = CLOCK_TOLERANCE_S
    revocation_max_age_s: Annotated[int, Field(ge=1, le=MAX_REVOCATION_AGE_S)] | None = None
    issuers: Parties | None = None
    authorities: Parties | None = None
    kinds: Kinds | None = None
    outputs: Outputs | None = None
    protocols: Protocols | None = None
    datasets: Datasets | None = None
    validator_roles: Roles | None = None
    validators: Annotated[tuple[Validators, ...], Field(strict=False)] = ()
    approved_lists: Literal["committed", "sealed"] | None = None
    min_rows: Annotated[int, Field(ge=0)] = 0
    max_rows_per_exchange: Cap | None = None
    max_share_of_dataset: Share | None = None
    max_epoch_days: Annotated[int, Field(ge=1, le=MAX_EPOCH_DAYS)] | None = None
    max_rows_per_mandate: Cap | None = None
    max_exchanges_per_mandate: Cap | None = None
    per_day: PerDay = PerDay()
    hours: Annotated[tuple[Hours, ...], Field(strict=False, min_length=1)] | None = None
    emergency: Emergency = Emergency()
    approval: Approval = Approval()

    @model_validator(mode="after")
    def _zone_is_stated(self) -> Self:
        if self.hours is not None and "timezone" not in self.model_fields_set:
            raise ValueError("hours without a timezone")
        return self

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a policy file; where there is none, the default.

        Raises:
            ConfigError: ``policy_invalid``; names the key that is wrong.
        """
        try:
            text = path.read_text(encoding="utf-8")
            too_long = len(text) > MAX_BYTES
            fields = {} if too_long else tomllib.loads(text, parse_float=Decimal)
        except FileNotFoundError:
            return cls()
        except (ArithmeticError, OSError, RecursionError, ValueError):
            raise _invalid(path, "it cannot be read as TOML") from None
        if "version" not in fields:
            raise _invalid(path, "it must say `version = 1`")
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            keys = {_key(found["loc"]) for found in error.errors()}
            # A table is wrong where a key of it is: the key says more.
            finest = [key for key in sorted(keys) if not any(k.startswith(f"{key}.") for k in keys)]
            raise _invalid(path, f"wrong or unknown: {', '.join(finest)}") from None

    @property
    def revocation_max_age(self) -> timedelta | None:
        """How old an issuer's revocation list may be; None where none needs to be there."""
        seconds = self.revocation_max_age_s
        return None if seconds is None else timedelta(seconds=seconds)

    def require_validator_role(self, mandate: Mandate) -> None:
        """Refuse a mandate whose validator signs in a capacity that suffices for nothing here.

        Raises:
            AuthorisationError: ``policy_validator_role``.
        """
        if self.validator_roles is not None and mandate.validator_role not in self.validator_roles:
            raise AuthorisationError(
                f"the policy takes no mandate that a {mandate.validator_role} validates",
                mend="Ask for a mandate validated by whom the policy names.",
                reason="policy_validator_role",
            )

    def epoch_rule(self, began: datetime | None, now: datetime) -> Rule | None:
        """Return the rule on the age of an epoch; None where there is none.

        Args:
            began: when the epoch began, with a time zone; None for a list that is not encoded.
            now: the platform's clock, with a time zone.
        """
        if self.max_epoch_days is None or began is None:
            return None
        passes = now - began <= timedelta(days=self.max_epoch_days)
        message = (
            f"the dataset's epoch began on {began:%Y-%m-%d}; the policy uses an epoch for"
            f" {self.max_epoch_days:,} days, and the platform has to rotate it"
        )
        return Rule(passes, "policy_epoch_age", message)

    def local(self, now: datetime) -> datetime:
        """Return a time in the policy's time zone."""
        return now.astimezone(_zone(self.timezone))

    def day(self, now: datetime) -> tuple[datetime, datetime]:
        """Return when the day of a time begins and when the next one does, UTC."""
        date = self.local(now).date()
        zone = _zone(self.timezone)
        starts = datetime.combine(date, time(), zone)
        ends = datetime.combine(date + timedelta(days=1), time(), zone)
        return starts.astimezone(UTC), ends.astimezone(UTC)


def _key(place: tuple[int | str, ...]) -> str:
    """Return the name of the key that a validation found wrong."""
    if not place:
        return "hours without timezone"
    names = [str(part) for part in place if isinstance(part, str)]
    return ".".join(names[:2])


def _invalid(path: Path, message: str) -> ConfigError:
    return ConfigError(
        f"the policy {path} is not valid: {message}",
        mend="Correct the file; protocols/specs/mandate.md, section 7, lists every key.",
        reason="policy_invalid",
    )
