"""A stage for tests of the command line: four homes, two lists, and the real program."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psishare
from psishare.cli import run
from psishare.mandates.envelope import sign_envelope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psishare.parties.home import Home

PLATFORM, AUTHORITY = "tele.example", "police.example"
ISSUER, VALIDATOR = "prosecutor.example", "court.example"
ROLES = {PLATFORM: "platform", AUTHORITY: "authority", ISSUER: "issuer", VALIDATOR: "issuer"}
PROGRAM = [sys.executable, "-m", "psishare.cli"]
CUSTOMERS = ["+4915112345678", "+33612345678", "+447712345678", "+12125550123", "+919812345678"]
SUSPECTS = ["0151 1234 5678", "+33 6 99 99 99 99", "unknown", "0044 7712345678", "+4915112345678"]
MATCHING = [1, 4, 5]
"""The rows of the suspects, counted from 1, whose number is a customer's."""


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Return the one object on standard output."""
        document: dict[str, Any] = json.loads(self.out)
        return document

    @property
    def reason(self) -> str:
        """Return the reason code of the error on standard output."""
        reason: str = self.document["error"]["reason"]
        return reason


def psi(*arguments: str | Path) -> Ran:
    """Run a command in this process, with its outputs caught; neither is a terminal."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    texts = []
    for stream in (out, err):
        stream.flush()
        assert isinstance(stream.buffer, io.BytesIO)
        texts.append(stream.buffer.getvalue().decode())
    return Ran(code, *texts)


def psi_process(*arguments: str | Path, **options: Any) -> Ran:
    """Run a command as a process of its own."""
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


class Office:
    """Four parties that have pinned each other, and a list at each side.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.homes: dict[str, Home] = {
            party: psishare.init_party(
                folder / party.partition(".")[0], party_id=party, role=role, display_name=party
            )
            for party, role in ROLES.items()
        }
        self.pin(PLATFORM, AUTHORITY)
        self.pin(PLATFORM, ISSUER, "issuer")
        self.pin(PLATFORM, VALIDATOR, "validator")
        self.pin(AUTHORITY, PLATFORM)
        self.customers = self.table("customers.csv", "number", CUSTOMERS)
        self.suspects = self.table("suspects.csv", "phone", SUSPECTS)

    def home(self, party: str) -> Path:
        """Return the path of a party's home."""
        return self.homes[party].path

    def pin(self, at: str, whom: str, *trusted_as: str) -> None:
        """Let one party pin another."""
        psishare.pin_peer(
            self.homes[at],
            self.homes[whom].export_card(),
            fingerprint=self.homes[whom].card.fingerprint(),
            trusted_as=frozenset(trusted_as),
        )

    def card(self, party: str) -> Path:
        """Write a party's card to a file."""
        path = self.folder / f"{party}.card"
        path.write_bytes(self.homes[party].export_card())
        return path

    def table(self, name: str, column: str, numbers: list[str]) -> Path:
        """Write a list of two columns."""
        path = self.folder / name
        rows = [f"{row},{number}" for row, number in enumerate(numbers, 1)]
        path.write_text("\n".join([f"row,{column}", *rows, ""]), encoding="utf-8")
        return path

    def mandate(self, name: str = "case.mandate", **changes: Any) -> Path:
        """Write a mandate that issuer and validator have signed."""
        now = datetime.now(UTC)
        fields: dict[str, Any] = {
            "issuer": ISSUER,
            "validator": VALIDATOR,
            "validator_role": "court",
            "authority": AUTHORITY,
            "platform": PLATFORM,
            "kinds": ["phone"],
            "outputs": ["matches", "count", "both"],
            "max_rows_per_exchange": 1_000,
            "max_rows_total": 100_000,
            "max_exchanges": 1_000,
            "jurisdiction": "XX",
            "legal_basis": "Code of criminal procedure, section 100",
            "purpose": "to find accounts of suspects",
            "not_before": now - timedelta(days=2),
            "not_after": now + timedelta(days=1),
            "now": now,
        }
        drafted = psishare.draft_mandate(self.homes[ISSUER], "case 1", **(fields | changes))
        envelope = drafted.envelope
        for party in (ISSUER, VALIDATOR):
            envelope = sign_envelope(envelope, self.homes[party].log_signer(), party=party)
        path = self.folder / name
        path.write_bytes(envelope)
        return path

    def encode(self) -> None:
        """Encode the customers as a dataset."""
        column = psishare.KeyColumn.parse("phone=number")
        with psishare.Party.open(self.home(PLATFORM)) as party:
            party.encode(self.customers, column, name="customers", n_max=1_000)

    @contextlib.contextmanager
    def serving(self, *arguments: str | Path, as_json: bool = True) -> Iterator[Server]:
        """Run ``serve`` as a process; what it serves are the arguments, or the encoded dataset."""
        more = ["--json"] if as_json else []
        what = arguments or ("--dataset", "customers")
        process = subprocess.Popen(
            [
                *(*PROGRAM, "serve", "--home", str(self.home(PLATFORM))),
                *("--listen", "127.0.0.1:0", *more, *map(str, what)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            ready = json.loads(line) if as_json else {"listening": line.split()[-1]}
            yield Server(process, ready)
        finally:
            process.kill()
            process.communicate(timeout=60)

    def asking(self, address: str, mandate: Path, *more: str | Path) -> list[str]:
        """Return the arguments of ``match`` for the suspects, but for ``--out``."""
        return [
            *("match", "--home", str(self.home(AUTHORITY)), "--platform", PLATFORM),
            *("--address", address, "--dataset", "customers", "--mandate", str(mandate)),
            *("--data", str(self.suspects), "--key", "phone=phone", "--region", "DE"),
            *map(str, more),
        ]

    def verify(self, party: str) -> Ran:
        """Verify a party's log with the cards of both."""
        return psi(
            *("audit", "verify", self.homes[party].log_path, "--json"),
            *("--trust", self.card(PLATFORM), "--trust", self.card(AUTHORITY)),
        )


@dataclass(frozen=True)
class Server:
    """A ``serve`` that is ready."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]

    @property
    def address(self) -> str:
        """Where it listens."""
        address: str = self.ready["listening"]
        return address

    def end(self, signal: int) -> Ran:
        """Send a signal and wait for the end."""
        os.kill(self.process.pid, signal)
        out, err = self.process.communicate(timeout=60)
        return Ran(self.process.returncode, out, err)
