"""The command line with frames of a few rows, so that a short list makes an exchange of many calls.

Usage: small_frames.py ROWS ARGUMENTS...
"""

from __future__ import annotations

import functools
import sys

import psishare.client.session as session_module
from psishare.cli import run
from psishare.exchange.ask import Ask


def main() -> int:
    """Run a command."""
    frame_rows, *arguments = sys.argv[1:]
    asking = functools.partial(Ask, frame_rows=int(frame_rows))
    vars(session_module)["Ask"] = asking
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
