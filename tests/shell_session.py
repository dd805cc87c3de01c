"""A shell session as a document shows it: commands behind ``$``, each with what it prints below.

Run one command after the other in one folder. A command that ends with ``&`` keeps running until
``kill %1``. One whose output shows a question that was answered gets a terminal, and the answer.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PROMPT = "$ "
QUESTION = "[y/N]: "
ANSWER = b"y\n"
TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0


@dataclass
class Command:
    """A command and what the document shows of its output.

    Attributes:
        text: as it is typed, all its lines.
        shown: the lines below it.
    """

    text: str
    shown: str


def commands_of(document: str) -> list[Command]:
    """Return the commands in the blocks of a document that are marked ``console``, in order."""
    blocks = re.findall(r"(?ms)^```console\n(.*?)^```$", document)
    return [command for block in blocks for command in _commands(block.splitlines())]


def _commands(lines: list[str]) -> Iterator[Command]:
    rest = iter(lines)
    command: Command | None = None
    for line in rest:
        if line.startswith(PROMPT):
            if command:
                yield command
            command = Command(_whole(line.removeprefix(PROMPT), rest), "")
        else:
            assert command, "a block begins with a command"
            command.shown += line + "\n"
    if command:
        yield command


def _whole(line: str, rest: Iterator[str]) -> str:
    """Return a command with the lines that it goes on in: behind a backslash, or up to ``END``."""
    text = line
    while line.endswith("\\"):
        line = next(rest)
        text += "\n" + line
    if text.endswith("<<END"):
        while line != "END":
            line = next(rest)
            text += "\n" + line
    return text


@dataclass
class Session:
    """A session in a folder; use as a context manager, so that nothing is left running.

    Attributes:
        folder: where commands run.
        environment: of every command.
    """

    folder: Path
    environment: Mapping[str, str]
    _background: list[subprocess.Popen[str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._background:
            process.kill()
            process.communicate()

    def run(self, command: Command) -> str:
        """Run a command that must succeed, and return what it prints on either stream."""
        if command.text == "kill %1":
            return self._stop()
        if command.text.startswith("export "):
            self.environment = {**self.environment, **self._exported(command.text)}
            return ""
        if command.text.endswith("&"):
            return self._start(command.text.removesuffix("&"))
        if QUESTION in command.shown:
            return self._answer(command.text)
        done = subprocess.run(
            ["bash", "-c", command.text],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{command.text}\n{done.stdout}"
        return done.stdout

    def _exported(self, text: str) -> dict[str, str]:
        """Return the one variable that a command exports, as a shell would."""
        name = text.removeprefix("export ").partition("=")[0]
        done = subprocess.run(
            ["bash", "-c", f'{text}; printf %s "${name}"'],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        return {name: done.stdout}

    def _start(self, text: str) -> str:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {text}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._background.append(process)
        assert process.stdout
        assert _readable(process.stdout.fileno(), TIMEOUT_S), f"{text} says nothing"
        return process.stdout.readline()

    def _stop(self) -> str:
        process = self._background.pop()
        process.send_signal(signal.SIGTERM)
        try:
            left, _ = process.communicate(timeout=STOP_TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, left
        return left

    def _answer(self, text: str) -> str:
        """Run a command on a terminal, and answer its question once it is there."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            ["bash", "-c", text],
            cwd=self.folder,
            env={**self.environment, "TERM": "dumb", "COLUMNS": "200"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            printed = _until_closed(ours)
            process.wait(STOP_TIMEOUT_S)
        finally:
            os.close(ours)
            process.kill()
            process.wait()
        assert process.returncode == 0, printed
        return printed


def _readable(descriptor: int, timeout_s: float) -> bool:
    """Wait for something to read; ``select`` would take no descriptor above 1,023."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _until_closed(terminal: int) -> str:
    printed, answered, deadline = b"", False, time.monotonic() + TIMEOUT_S
    while True:
        left_s = max(0.0, deadline - time.monotonic())
        assert _readable(terminal, left_s), "the command does not end"
        try:
            data = os.read(terminal, 65_536)
        except OSError:
            # Linux reports so that the other end of a terminal is closed.
            data = b""
        if not data:
            return printed.decode().replace("\r\n", "\n")
        printed += data
        if not answered and QUESTION.encode() in printed:
            os.write(terminal, ANSWER)
            answered = True
