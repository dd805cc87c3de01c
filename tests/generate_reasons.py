"""Write docs/reasons.md from the table of reasons, or check that it is as it would be written.

Usage: python tests/generate_reasons.py [--check]
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from psishare.errors import ExitCode
from psishare.exchange.reasons import ENDINGS, REASONS, Reason

PAGE = Path(__file__).parents[1] / "docs" / "reasons.md"
INTRODUCTION = """# Reasons

Every error of psishare carries a reason: a stable code, beside a sentence that names the fault, the
party at fault and the mend. A command prints both, ends with the exit code of the error's class, and
with `--json` gives the code as `reason`. Where an exchange or a delivery ends for it, the code stands
in the log entry named here.

This page is made from `psishare/exchange/reasons.py` by `python tests/generate_reasons.py`.
"""
NAMES = {
    ExitCode.CONFIGURATION: "configuration",
    ExitCode.INPUT: "input",
    ExitCode.REFUSED: "refused: authorisation",
    ExitCode.PEER: "peer or network",
    ExitCode.PROTOCOL: "protocol",
    ExitCode.AUDIT: "audit or verification",
    ExitCode.INTERNAL: "internal fault",
    ExitCode.INTERRUPTED: "interrupted",
}


def page() -> str:
    """Return the page's text."""
    parts = [INTRODUCTION]
    ordered = sorted(REASONS, key=lambda reason: (reason.exit_code, reason.code))
    for code, reasons in groupby(ordered, key=lambda reason: reason.exit_code):
        parts.append(f"\n## Exit code {code.value}: {NAMES[code]}\n\n")
        parts.append("| reason | error | log entry | meaning |\n| --- | --- | --- | --- |\n")
        parts += [_row(reason) for reason in reasons]
    parts.append("\n## Reasons of `exchange.aborted` that no error carries\n\n")
    parts.append("| reason | meaning |\n| --- | --- |\n")
    parts += [f"| `{code}` | {sentence} |\n" for code, sentence in sorted(ENDINGS.items())]
    return "".join(parts)


def _row(reason: Reason) -> str:
    entries = ", ".join(f"`{entry}`" for entry in reason.entries) or "–"
    return f"| `{reason.code}` | {reason.error.__name__} | {entries} | {reason.sentence} |\n"


def main(arguments: list[str]) -> int:
    """Write or check the page; return the exit code."""
    if arguments == ["--check"]:
        current = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        if current == page():
            return 0
        sys.stderr.write(f"{PAGE} is not current: run python tests/generate_reasons.py\n")
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
