"""Where published vectors lie that are not part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_vectors() -> Path:
    """Return the folder of published vectors beside the checkout, or skip."""
    beside = Path(__file__).resolve().parents[4] / "shared"
    folder = Path(os.environ.get("PSISHARE_SHARED", beside)) / "vectors"
    if not folder.is_dir():
        pytest.skip("the published vectors are not on this machine; set PSISHARE_SHARED")
    return folder
