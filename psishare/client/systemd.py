"""What a service tells systemd: that it is ready, reloads, stops, and is still alive (sd_notify(3)).

Where no service manager listens, every call does nothing. A manager that cannot be reached never stops
the service.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET_VARIABLE = "NOTIFY_SOCKET"
WATCHDOG_VARIABLE = "WATCHDOG_USEC"
WATCHDOG_PID_VARIABLE = "WATCHDOG_PID"


@dataclass(frozen=True, slots=True)
class Systemd:
    """The service manager of this process, or none.

    Attributes:
        address: its datagram socket; a leading ``@`` stands for the abstract namespace. None: no manager.
        watchdog_s: seconds within which it wants to hear that the service is alive; None: never.
    """

    address: str | None
    watchdog_s: float | None

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Return the manager that the environment names."""
        environment = os.environ if environment is None else environment
        address = environment.get(SOCKET_VARIABLE, "")
        microseconds = environment.get(WATCHDOG_VARIABLE, "")
        meant_for = environment.get(WATCHDOG_PID_VARIABLE) or str(os.getpid())
        watched = microseconds.isdecimal() and meant_for == str(os.getpid())
        return cls(
            address if address[:1] in {"/", "@"} else None,
            int(microseconds) / 1e6 if watched and int(microseconds) else None,
        )

    def ready(self, status: str) -> None:
        """Tell that the service answers, for the first time or again after a reload."""
        self._tell(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Tell that the configuration is being read again."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self, status: str) -> None:
        """Tell that the service is about to end."""
        self._tell(f"STOPPING=1\nSTATUS={status}")

    def alive(self) -> None:
        """Tell that the service is alive, where a watchdog wants to hear it."""
        if self.watchdog_s is not None:
            self._tell("WATCHDOG=1")

    def _tell(self, state: str) -> None:
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.settimeout(0.0)
                manager.sendto(state.encode(), address)
        except OSError:
            # The manager's time-out speaks for itself; the service's work goes on.
            return
