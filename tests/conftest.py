"""What all tests share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from stage import CopiedStage, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# How long an example takes says how much else the machine has to do, and nothing of what is tested.
settings.register_profile("timeless", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("timeless")


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a stage that was made once, to be copied."""
    folder = tmp_path_factory.mktemp("homes")
    Stage(folder).close()
    return folder


@pytest.fixture
def stage(homes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Return a stage with every party's home.

    The disk is not waited for, which no test in one process can tell.
    """
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    copied = CopiedStage(homes, tmp_path / "stage")
    yield copied
    copied.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a platform wait a moment only for a frame that is due, before it answers ``pending``."""
    monkeypatch.setattr("psishare.exchange.opened.PENDING_AFTER_S", 0.02)
