"""The README's session runs as it stands there, in an empty folder, and prints what it shows."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from shell_session import Session, commands_of
from shown_output import assert_shown

README = Path(__file__).parents[2] / "README.md"
PORT = "7447"


def test_the_readme_shows_what_its_commands_print(tmp_path: Path) -> None:
    port = _free_port()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("PSISHARE_HOME", None)
    with Session(tmp_path, environment) as session:
        for command in commands_of(README.read_text(encoding="utf-8")):
            command.text = command.text.replace(f":{PORT}", f":{port}")
            assert_shown(command.shown, session.run(command))
    assert (tmp_path / "matches.csv").exists()
    assert not (tmp_path / "again.csv").exists()


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return str(port)
