"""``psishare demo``: the whole of it on one machine, with lists that are made up.

Five parties, a signed mandate, a real ``serve`` and ``match`` as two processes over TLS on loopback,
and an auditor who verifies both logs. The result is held against what is known of the lists.
"""

import contextlib
import csv
import json
import selectors
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

import psishare
from psishare.cli.console import number, print_json, say, say_table, short
from psishare.cli.demo_lists import REGION, Lists, write_lists
from psishare.cli.group import example, new_command
from psishare.cli.option import Json
from psishare.cli.progress import shown
from psishare.errors import InputError, InternalError
from psishare.evidence.verify import Verdict, verify_log
from psishare.mandates.envelope import sign_envelope
from psishare.parties.home import Home

PLATFORM, AUTHORITY = "tele.example", "police.example"
ISSUER, VALIDATOR = "prosecutor.example", "court.example"
AUDITOR = "oversight.example"
PARTIES = {
    PLATFORM: ("platform", "Tele"),
    AUTHORITY: ("authority", "Police"),
    ISSUER: ("issuer", "Prosecutor's office"),
    VALIDATOR: ("issuer", "District court"),
    AUDITOR: ("auditor", "Oversight board"),
}
DATASET = "customers"
PROGRAM = (sys.executable, "-m", "psishare.cli")
READY_TIMEOUT_S = 60.0
MATCH_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 15.0

app = new_command()


@app.command(epilog=example("psishare demo", "psishare demo --rows 200000 --keep demo"))
def demo(
    *,
    rows: Annotated[
        int, typer.Option(metavar="N", min=100, help="How many customers the platform has.")
    ] = 20_000,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep everything in this folder, to look at afterwards."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run one whole exchange on this machine, and verify it.

    Platform, authority, issuer, court and auditor, with made-up phone numbers. Ends with exit code 0 only if the result is exactly the true overlap and both logs verify.
    """
    started = time.monotonic()
    with _folder(keep) as folder:
        stage = _Stage(folder, as_json)
        lists = stage.make_lists(rows)
        stage.make_parties()
        mandate = stage.make_mandate(lists)
        items = stage.encode(lists)
        result = stage.exchange(lists, mandate)
        verdicts = stage.audit()
        found = _require_true_overlap(result, lists)
        seconds = time.monotonic() - started
        if as_json:
            print_json(_document(lists, found, verdicts, seconds))
        else:
            _say_learned(lists, found, items, verdicts)
            say()
            say(
                f"The {number(len(found))} matching rows are exactly the true overlap."
                f"  {seconds:.1f} s",
                style="green",
            )
            if keep:
                say(f"Everything is in {folder}; see `psishare exchange list --home ...`.")


@dataclass
class _Stage:
    """The folder in which everything happens, and the parties in it."""

    folder: Path
    quiet: bool
    homes: dict[str, Home] = field(default_factory=dict)
    n_steps: int = 0

    def make_lists(self, rows: int) -> Lists:
        lists = write_lists(self.folder, rows)
        self._step("Two lists of phone numbers, spelled as people spell them")
        self._detail(
            f"{number(lists.n_customers)} customers at the platform,"
            f" {number(lists.n_suspects)} suspects at the authority"
        )
        return lists

    def make_parties(self) -> None:
        self._step("Five parties, each with keys and a card of its own")
        for party_id, (role, name) in PARTIES.items():
            home = self.folder / _home(party_id)
            self.homes[party_id] = psishare.init_party(
                home, party_id=party_id, role=role, display_name=name
            )
        self._detail("a platform, an authority, a prosecutor, a court, an auditor")
        self._detail(
            "their keys are not encrypted here; `psishare party init` asks for a passphrase"
        )
        self._pin(PLATFORM, AUTHORITY)
        self._pin(PLATFORM, ISSUER, "issuer")
        self._pin(PLATFORM, VALIDATOR, "validator")
        self._pin(AUTHORITY, PLATFORM)
        fingerprint = self.homes[PLATFORM].card.fingerprint().split("-")
        self._detail(f"pinned by fingerprints read aloud: {' '.join(fingerprint[:4])} ...")

    def make_mandate(self, lists: Lists) -> Path:
        now = datetime.now(UTC)
        cap = lists.n_suspects
        drafted = psishare.draft_mandate(
            self.homes[ISSUER],
            "demo case 1",
            issuer=ISSUER,
            validator=VALIDATOR,
            validator_role="court",
            authority=AUTHORITY,
            platform=PLATFORM,
            datasets=(DATASET,),
            kinds=("phone",),
            outputs=("matches",),
            max_rows_per_exchange=cap,
            max_rows_total=cap,
            max_exchanges=1,
            jurisdiction="XX",
            legal_basis="Code of criminal procedure, section 100",
            purpose="to find the accounts of suspects",
            not_before=now,
            not_after=now + timedelta(days=1),
            now=now,
        )
        envelope = drafted.envelope
        for party in (ISSUER, VALIDATOR):
            envelope = sign_envelope(envelope, self.homes[party].log_signer(), party=party)
        path = self.folder / "case.mandate"
        path.write_bytes(envelope)
        self._step("A mandate, drafted by the prosecutor, signed by prosecutor and court")
        self._detail(f"phone numbers, at most {number(cap)} rows, one exchange, valid for a day")
        return path

    def encode(self, lists: Lists) -> int:
        self._step("The platform evaluates its customers under a secret key")
        column = psishare.KeyColumn.parse("phone=number", region=REGION)
        with (
            psishare.Party.open(self.homes[PLATFORM].path) as party,
            shown(quiet=self.quiet) as report,
        ):
            signed = party.encode(lists.customers, column, name=DATASET, progress=report)
        items: int = signed.manifest.items
        self._detail(f"{number(items)} distinct numbers")
        return items

    def exchange(self, lists: Lists, mandate: Path) -> Path:
        self._step("One exchange: two processes, mutual TLS")
        result = self.folder / "matches.csv"
        with self._serving() as address:
            self._run(
                ("match", "--home", _home(AUTHORITY)),
                ("--platform", PLATFORM, "--address", address, "--dataset", DATASET),
                ("--mandate", mandate.name, "--data", lists.suspects.name),
                ("--key", "phone=phone", "--region", REGION, "--out", result.name),
            )
        return result

    def audit(self) -> list[Verdict]:
        self._step("The auditor verifies both logs, with public cards alone")
        cards = {party: self.homes[party].card for party in (PLATFORM, AUTHORITY)}
        verdicts = [verify_log(self.homes[party].log_path, cards) for party in cards]
        for verdict in verdicts:
            endings = [exchange.ending for exchange in verdict.exchanges]
            if endings != ["closed"]:
                raise _off(f"the log of {verdict.party} does not hold one closed exchange")
            self._detail(
                f"{verdict.party}: {verdict.log.head.tree_size} entries, exchange"
                f" {short(verdict.exchanges[0].exchange_id)} closed, both signatures good"
            )
        if verdicts[0].exchanges[0].exchange_id != verdicts[1].exchanges[0].exchange_id:
            raise _off("the two logs tell of different exchanges")
        return verdicts

    @contextlib.contextmanager
    def _serving(self) -> Iterator[str]:
        """Run the platform's process; give its address."""
        lines = (
            ("serve", "--home", _home(PLATFORM)),
            (*("--dataset", DATASET, "--listen", "127.0.0.1:0"),),
        )
        self._command(lines)
        with subprocess.Popen(  # noqa: S603  this very program
            [*PROGRAM, *chain(*lines), "--json"],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield _address(process)
                process.terminate()
                if process.wait(STOP_TIMEOUT_S) != 0:
                    raise _off(f"serve ended with exit code {process.returncode}")
            except subprocess.TimeoutExpired:
                raise _off("serve did not stop when it was asked to") from None
            finally:
                process.kill()

    def _run(self, *lines: tuple[str, ...]) -> None:
        """Run the authority's process, its output under the eyes of whoever watches."""
        self._command(lines)
        process = subprocess.run(  # noqa: S603  this very program
            [*PROGRAM, *chain(*lines)],
            cwd=self.folder,
            stdout=subprocess.DEVNULL if self.quiet else None,
            timeout=MATCH_TIMEOUT_S,
            check=False,
        )
        if process.returncode != 0:
            raise _off(f"match ended with exit code {process.returncode}")

    def _pin(self, at: str, whom: str, *trusted_as: str) -> None:
        card = self.homes[whom].card
        psishare.pin_peer(
            self.homes[at],
            self.homes[whom].export_card(),
            fingerprint=card.fingerprint(),
            trusted_as=frozenset(trusted_as),
        )

    def _step(self, text: str) -> None:
        self.n_steps += 1
        if not self.quiet:
            say(f"{self.n_steps}  {text}", style="bold")

    def _detail(self, text: str) -> None:
        if not self.quiet:
            say(f"   {text}")

    def _command(self, lines: tuple[tuple[str, ...], ...]) -> None:
        """Show a command as a person would type it."""
        if not self.quiet:
            shown_as = " \\\n       ".join(map(shlex.join, lines))
            say(f"   $ psishare {shown_as}", style="cyan")


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="psishare-demo-") as name:
            yield Path(name)
        return
    keep = keep.absolute()
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise InputError(
            f"{keep} is there already",
            mend="Choose a folder that is new or empty.",
            reason="output_exists",
        )
    keep.mkdir(mode=0o700, parents=True, exist_ok=True)
    yield keep


def _home(party_id: str) -> str:
    """Return the name of a party's home within the folder."""
    return party_id.partition(".")[0]


def _address(process: "subprocess.Popen[str]") -> str:
    """Wait for the line in which a server says where it listens."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        ready = selector.select(READY_TIMEOUT_S)
    line = process.stdout.readline() if ready else ""
    if not line:
        raise _off("serve did not come up")
    address: str = json.loads(line)["listening"]
    return address


def _require_true_overlap(result: Path, lists: Lists) -> tuple[str, ...]:
    with result.open(encoding="utf-8", newline="") as file:
        found = tuple(row["ref"] for row in csv.DictReader(file))
    if found != lists.matching:
        raise _off(
            f"{len(found)} rows were found; {len(lists.matching)} are in both lists, or others"
        )
    return found


def _off(fault: str) -> InternalError:
    return InternalError(
        f"the demo went wrong: {fault}",
        mend="Run it again with --keep, and report it with what the folder holds.",
    )


def _document(
    lists: Lists, found: tuple[str, ...], verdicts: list[Verdict], seconds: float
) -> dict[str, Any]:
    return {
        "ok": True,
        "customers": lists.n_customers,
        "suspects": lists.n_suspects,
        "matching_rows": len(found),
        "exchange_id": verdicts[0].exchanges[0].exchange_id,
        "logs": {verdict.party: verdict.log.head.tree_size for verdict in verdicts},
        "seconds": round(seconds, 3),
    }


def _say_learned(lists: Lists, found: tuple[str, ...], items: int, verdicts: list[Verdict]) -> None:
    asked = number(verdicts[0].exchanges[0].rows or 0)
    rows = f"{number(len(found))} of its {number(lists.n_suspects)} rows"
    say()
    say_table(
        ("who", "learned", "did not learn"),
        [
            (
                AUTHORITY,
                f"which {rows} are of customers; that there are {number(items)} of them",
                "any other customer",
            ),
            (
                PLATFORM,
                f"that {AUTHORITY} asked {asked} numbers under this mandate",
                "which numbers, and which of them matched",
            ),
            (
                AUDITOR,
                "who asked whom, when, how many, under which mandate; that both signed",
                "a single number",
            ),
        ],
    )
