"""Reminds whoever reads a server's messages of certificates that expire soon, once a day."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from psishare.client.renewal import certificate_warnings

if TYPE_CHECKING:
    from psishare.client.party import Party

PERIOD_S = 24 * 3600.0

_logger = logging.getLogger(__name__)


class Reminder:
    """Warns of a party's certificate and of its peers', as they are then.

    Args:
        party: opened; its home and peers are reloaded by others.
    """

    def __init__(self, party: Party) -> None:
        self._party = party
        self._due_s = 0.0

    def remind(self) -> None:
        """Warn, unless that was done within the last day."""
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + PERIOD_S
        for warning in certificate_warnings(self._party.home, self._party.peers):
            _logger.warning("%s", warning)
