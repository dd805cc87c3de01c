"""A change of a party's card: one at a time, from what it is now to the next serial, in one durable step."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Any

from psishare.errors import ConfigError
from psishare.keys.durable_file import overwrite, sync_folder, write_durably
from psishare.parties.card import Card, sign_card
from psishare.parties.field import write_time
from psishare.parties.home import CARD_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from psishare.parties.home import Home


@contextlib.contextmanager
def changing_card(home: Home) -> Iterator[Home]:
    """Hold the home's lock over a change that starts from the card as it is now.

    Yields:
        The home with the card that lies in it.

    Raises:
        ConfigError: the home does not open.
    """
    try:
        descriptor = os.open(home.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritable(home.path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield home.reopened()
    finally:
        os.close(descriptor)


def replace_card(home: Home, now: datetime, *, published: int = 0, **changes: Any) -> Home:
    """Let a card of the next serial take the place of the home's, with some fields changed.

    Args:
        home: under its lock.
        now: with a time zone.
        published: the largest serial that the log knows of: a card that was restored alone has an older one.
        changes: fields, as they stand in the card's document.

    Returns:
        The home with that card.

    Raises:
        ConfigError: ``home_unwritable``; the card is as it was.
    """
    old = home.card.fields()
    later = {"serial": max(home.card.serial, published) + 1, "created": write_time(now)}
    card = Card.model_validate(old | later | changes)
    data = sign_card(card, home.log_signer())
    write_durably(home.path / CARD_FILE, data, error=ConfigError, reason="home_unwritable")
    return home.reopened()


def destroy_key(path: Path) -> None:
    """Destroy a key that is used no more; a process that still runs has it in memory.

    Raises:
        ConfigError: ``home_unwritable``.
    """
    try:
        with path.open("r+b") as file:
            overwrite(file)
        path.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} cannot be changed: {error.strerror or type(error).__name__}",
        mend="Check free space and permissions there.",
        reason="home_unwritable",
    )
