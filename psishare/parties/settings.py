"""The settings of a party's commands: the tables ``[serve]`` and ``[match]`` of its ``party.toml``.

Each key is an option of the command of that name, written with underscores; an option given on the
command line wins. Promises: a file with a key that is unknown or wrong is refused, with an error that
names the key and what it may be; nothing here is secret.
"""

from __future__ import annotations

import difflib
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from psishare.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PARTY_FILE = "party.toml"

Text = Annotated[str, Field(min_length=1, description="a text in quotes that is not empty")]
Texts = Annotated[
    list[Text], Field(min_length=1, description='a list of texts, such as ["one", "two"]')
]
Switch = Annotated[bool, Field(description="true or false")]
Address = Annotated[
    str,
    Field(
        pattern=r"^\S+:[0-9]{1,5}$",
        description='an address in quotes, such as "0.0.0.0:7447" or "[::1]:7447"',
    ),
]
Seconds = Annotated[float, Field(ge=1, description="a number of seconds, at least 1")]
CallSeconds = Annotated[float, Field(ge=0.1, description="a number of seconds, at least 0.1")]
GraceSeconds = Annotated[
    float, Field(ge=0, le=3600, description="a number of seconds, at least 0, at most 3600")
]
Number = Annotated[
    int, Field(ge=1, le=1_000_000, description="a whole number, at least 1, at most 1000000")
]
Mebibytes = Annotated[
    int, Field(ge=8, le=1_048_576, description="a whole number of MiB, at least 8")
]


class _Settings(BaseModel):
    """What every command with a home takes."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    passphrase_file: Text | None = None


class _ListFormat(_Settings):
    """How a list in a file is read."""

    format: Text | None = None
    encoding: Text | None = None
    delimiter: Text | None = None
    no_header: Switch | None = None
    as_text: Switch | None = None
    namespace: Annotated[str, Field(description="a text in quotes")] | None = None
    region: (
        Annotated[
            str,
            Field(pattern=r"^[A-Z]{2}$", description='a country of two letters, such as "DE"'),
        ]
        | None
    ) = None


class ServeSettings(_ListFormat):
    """Options of ``psishare serve``."""

    listen: Address | None = None
    dataset: Texts | None = None
    data: Texts | None = None
    key: Texts | None = None
    name: Texts | None = None
    out: Text | None = None
    idle_timeout: Seconds | None = None
    heartbeat: Seconds | None = None
    grace: GraceSeconds | None = None
    max_exchanges: Number | None = None
    max_connections: Number | None = None
    max_calls: Number | None = None
    max_calls_per_authority: Number | None = None
    max_mib: Mebibytes | None = None
    workers: Number | None = None
    metrics: Address | None = None
    log_format: Annotated[Literal["text", "json"], Field(description='"text" or "json"')] | None = (
        None
    )


class MatchSettings(_ListFormat):
    """Options of ``psishare match``."""

    platform: Text | None = None
    address: Address | None = None
    dataset: Text | None = None
    mandate: Text | None = None
    data: Text | None = None
    key: Text | None = None
    out: Text | None = None
    overwrite: Switch | None = None
    protocol: (
        Annotated[
            Literal["oprf", "ecdh", "openmined"],
            Field(description='"oprf", "ecdh" or "openmined"'),
        ]
        | None
    ) = None
    output: (
        Annotated[
            Literal["matches", "count", "both"],
            Field(description='"matches", "count" or "both"'),
        ]
        | None
    ) = None
    operator: Text | None = None
    timeout: CallSeconds | None = None
    retry_for: (
        Annotated[float, Field(ge=0, description="a number of seconds, at least 0")] | None
    ) = None


SETTINGS: dict[str, type[_Settings]] = {"serve": ServeSettings, "match": MatchSettings}
_PATHS = frozenset({"data", "out", "mandate", "passphrase_file"})
_STREAM = "-"

Model = TypeVar("Model", bound=BaseModel)


def read_settings(home: Path, command: str) -> dict[str, Any]:
    """Return what a home's ``party.toml`` sets of a command's options.

    Args:
        home: the home folder; relative paths in the file start from it.
        command: ``serve`` or ``match``.

    Returns:
        The options that are set, by the name that they have on the command line, with underscores;
        none where there is no file, which opening the home will tell of.

    Raises:
        ConfigError: ``settings_invalid``; names the key and what it may be.
    """
    path = home / PARTY_FILE
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except ValueError as error:
        raise not_toml(path, error) from None
    settings = parse_settings(path, command, fields.get(command, {}))
    return {
        key: _from_home(home, key, value)
        for key, value in settings.model_dump(exclude_none=True).items()
    }


def parse_settings(path: Path, command: str, fields: object) -> _Settings:
    """Parse one table of settings.

    Raises:
        ConfigError: ``settings_invalid``; names the key and what it may be.
    """
    model = SETTINGS[command]
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _invalid(path, command, model, error) from None


def not_toml(path: Path, error: ValueError) -> ConfigError:
    """Return the error of a file that is not TOML; the parser's words name place and fault only."""
    where = str(error).rpartition("(")[2].rstrip(")")
    place = f", {where}" if where.startswith("at line") else ""
    return ConfigError(
        f"{path} is not TOML{place}",
        mend="Correct it there: texts stand in quotes, lists in brackets, a key on a line of its own.",
        reason="settings_invalid",
    )


def _from_home(home: Path, key: str, value: Any) -> Any:
    """Let a relative path start from the home folder, wherever the command is run."""
    if key not in _PATHS:
        return value
    if isinstance(value, list):
        return [_from_home(home, key, one) for one in value]
    return value if value == _STREAM else str(home.absolute() / value)


def _invalid(
    path: Path, command: str, model: type[_Settings], error: ValidationError
) -> ConfigError:
    """Name the first wrong key and what it may be."""
    location = error.errors()[0]["loc"]
    if not location:
        return ConfigError(
            f"{path}: {command} is not a table",
            mend=f"Write [{command}] on a line of its own, and its keys below it.",
            reason="settings_invalid",
        )
    key = str(location[0])
    if key not in model.model_fields:
        close = difflib.get_close_matches(key, model.model_fields, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        return ConfigError(
            f"{path}: there is no setting {command}.{_shown(key)}",
            mend=f"{hint}The keys are the options of `psishare {command} --help`, with underscores.",
            reason="settings_invalid",
        )
    return ConfigError(
        f"{path}: {command}.{key} is not what it may be",
        mend=f"Give it {what_it_may_be(model, key)}, or remove the line.",
        reason="settings_invalid",
    )


def what_it_may_be(model: type[BaseModel], key: str) -> str:
    """Return what a key may hold, as a noun phrase."""
    schema = model.model_json_schema()["properties"][key]
    for part in (schema, *schema.get("anyOf", ())):
        if "description" in part:
            return str(part["description"])
    raise KeyError(key)


def _shown(key: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in key)[:64]
