"""Heartbeats: entered when due, with every stranger once, and none lost to a full disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from audit_examples import create_log

from psishare.audit.entry import Entry, Heartbeat, parse_entry
from psishare.client.heartbeat import Heart
from psishare.errors import AuditError

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.audit.log import Log


class World:
    """A clock and a door, both moved by hand."""

    def __init__(self, path: Path) -> None:
        self.now = 0.0
        self.strangers = 0
        self.log: Log = create_log(path)
        self.heart = Heart(self.log, lambda: self.strangers, every_s=60.0, clock=lambda: self.now)

    def told(self) -> list[int]:
        entries: list[Entry] = [parse_entry(data) for data in self.log.entries(1, self.log.size)]
        return [entry.failed_handshakes for entry in entries if isinstance(entry, Heartbeat)]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    return World(tmp_path / "log")


def test_a_heartbeat_is_entered_when_it_is_due_and_not_before(world: World) -> None:
    world.heart.beat()
    world.now = 59.9
    world.heart.beat()
    assert world.told() == []
    world.now = 60.0
    world.heart.beat()
    world.heart.beat()
    assert world.told() == [0]
    world.now = 121.0
    world.heart.beat()
    assert world.told() == [0, 0]


def test_every_stranger_is_told_once(world: World) -> None:
    for now, strangers in ((60.0, 3), (120.0, 2), (180.0, 5)):
        world.now, world.strangers = now, strangers
        world.heart.beat()
    assert world.told() == [3, 0, 2]
    world.heart.last_beat()
    assert world.told() == [3, 0, 2]
    world.strangers = 6
    world.heart.last_beat()
    assert world.told() == [3, 0, 2, 1]


def test_a_full_disk_loses_no_stranger(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.now, world.strangers = 60.0, 4
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: _full())
        with pytest.raises(AuditError):
            world.heart.beat()
    world.strangers = 5
    world.heart.beat()
    assert world.told() == [5]


def _full() -> None:
    raise OSError(28, "No space left on device")
