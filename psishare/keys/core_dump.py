"""No core dump of a process that holds secrets, and no look into its memory by the same user.

What this does not do: keep memory from being written to swap (encrypt swap, or turn it off), or from
whoever is root.
"""

from __future__ import annotations

import ctypes
import resource
import sys

from psishare.errors import ConfigError

_PR_SET_DUMPABLE = 4


def deny_core_dumps() -> None:
    """Let the kernel write no core dump of this process, now or later, nor of those it starts.

    On Linux the process is also made undumpable: others of the same user cannot attach to it or read
    its memory through ``/proc``.

    Raises:
        ConfigError: ``core_dumps_allowed``, the system refuses.
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        denied = not sys.platform.startswith("linux") or _set_undumpable()
    except (OSError, ValueError, AttributeError):
        denied = False
    if not denied:
        raise ConfigError(
            "the system does not let this process forbid core dumps, which would hold its keys",
            mend="Run it where prctl and setrlimit are allowed.",
            reason="core_dumps_allowed",
        )


def _set_undumpable() -> bool:
    library = ctypes.CDLL(None, use_errno=True)
    return bool(library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
