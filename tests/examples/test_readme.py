"""The README's session and the tutorials run as they stand there, one after the other, in an empty folder.

Each command prints what the document shows.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from shell_session import Session, commands_of
from shown_output import assert_shown

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    *(f"docs/tutorials/{name}.md" for name in ("operators", "compliance-system", "auditor")),
)
PORT = "7447"


def test_the_readme_and_the_tutorials_show_what_their_commands_print(tmp_path: Path) -> None:
    port = _free_port()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("PSISHARE_HOME", None)
    with Session(tmp_path, environment) as session:
        for document in DOCUMENTS:
            for command in commands_of((ROOT / document).read_text(encoding="utf-8")):
                command.text = command.text.replace(f":{PORT}", f":{port}")
                assert_shown(command.shown, session.run(command))
    assert (tmp_path / "matches.csv").exists()
    assert not (tmp_path / "again.csv").exists()


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return str(port)
