"""The command line: parse, call the library, print. No logic lives here.

``main`` is the one place where errors become exit codes: ours as ``psishare.errors`` numbers them,
2 for a command line that cannot be read, 130 when interrupted, and 70 with one sentence for a fault
of psishare itself, whose traceback is shown where ``PSISHARE_TRACEBACK`` is 1.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

import typer

from psishare.cli.console import print_error, print_fault, tell
from psishare.cli.root import command
from psishare.errors import ExitCode, InternalError, PsishareError
from psishare.keys.core_dump import deny_core_dumps

if TYPE_CHECKING:
    from collections.abc import Sequence

TRACEBACK_VARIABLE = "PSISHARE_TRACEBACK"

_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""Typer names the class of every misuse of the command line only as the base of this one."""


def main() -> None:
    """Run the command that the process was started with, and exit."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            # A name that the terminal's encoding lacks is no reason to fail.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # Asked to end, a command ends as it does when interrupted: nothing half done is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(_run_privately(sys.argv[1:]))


def _run_privately(arguments: Sequence[str]) -> int:
    """Run a command once no dump of this process can give its secrets away."""
    try:
        deny_core_dumps()
    except PsishareError as error:
        print_error(error, as_json="--json" in arguments)
        return error.exit_code
    return run(arguments)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    as_json = "--json" in arguments
    try:
        result = command().main(list(arguments), prog_name="psishare", standalone_mode=False)
    except PsishareError as error:
        print_error(error, as_json=as_json)
        return error.exit_code
    except _UsageError as error:
        return _misused(error, as_json=as_json)
    except typer.Abort:
        result = ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last line of defence: a sentence, not a traceback
        return _broken(error, as_json=as_json)
    if result == ExitCode.INTERRUPTED:
        tell("interrupted")
    return result if isinstance(result, int) else ExitCode.OK


def _misused(error: Exception, *, as_json: bool) -> int:
    if not as_json:
        error.show()  # type: ignore[attr-defined]
    else:
        print_fault(
            message=error.format_message(),  # type: ignore[attr-defined]
            mend="See the command's --help.",
            reason="usage",
            party=None,
            exit_code=int(ExitCode.USAGE),
        )
    return ExitCode.USAGE


def _broken(error: Exception, *, as_json: bool) -> int:
    if os.environ.get(TRACEBACK_VARIABLE) == "1":
        traceback.print_exception(error)
    fault = InternalError(
        f"psishare has a fault of its own ({type(error).__name__})",
        mend=f"Report it, with what {TRACEBACK_VARIABLE}=1 prints; mind that it may name values.",
    )
    print_error(fault, as_json=as_json)
    return fault.exit_code
