"""What is measured: psishare's protocols through its command line, and its peers, file to file."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.measure import Cost, Running, run, start
from psishare.client import init_party
from psishare.exchange.document import now
from psishare.mandates.case_reference import CaseReference
from psishare.mandates.draft import draft
from psishare.mandates.envelope import new_envelope, sign_envelope
from psishare.parties.peers import Peers

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.lists import Lists

PSISHARE = [sys.executable, "-m", "psishare.cli"]
PLATFORM, AUTHORITY = "tele.example", "police.example"
ISSUER, VALIDATOR = "prosecutor.example", "court.example"


@dataclass(frozen=True, slots=True)
class Result:
    """One run of one contestant.

    Attributes:
        total: everything, both parties, from their files to the authority's result file.
        encode: the part that a platform does once an epoch, where there is one.
        n_matched: rows in the result file.
    """

    total: Cost
    encode: Cost | None
    n_matched: int


def run_openmined(lists: Lists, folder: Path) -> Result:
    """Run ``openmined-psi`` between two processes, a core each."""
    out = folder / "openmined.csv"
    peer = [sys.executable, "-m", "benchmarks.openmined_peer"]
    to_server, from_client = os.pipe()
    to_client, from_server = os.pipe()
    started = time.monotonic()
    commands = (
        ([*peer, "server", str(lists.platform)], to_server, from_server),
        ([*peer, "client", str(lists.authority), str(out)], to_client, from_client),
    )
    processes = [
        Running(subprocess.Popen(c, stdin=i, stdout=o, text=True), started, c)
        for c, i, o in commands
    ]
    for descriptor in (to_server, from_client, to_client, from_server):
        os.close(descriptor)
    costs = [process.finish() for process in processes]
    return Result(_side_by_side(costs), None, _count(out, lists))


def run_psishare(lists: Lists, folder: Path, protocol: str) -> Result:
    """Run one psishare protocol through its command line, encode and server start included."""
    mandate = prepare_parties(folder, 10 * sum(1 for _ in lists.authority.open()))
    platform, authority = ["--home", str(folder / PLATFORM)], ["--home", str(folder / AUTHORITY)]
    source = ["--data", str(lists.platform), "--key", "phone=number", "--region", "DE"]
    encode = None
    if protocol == "oprf":
        encode = run([*PSISHARE, "dataset", "encode", "customers", *source, *platform])
        served = ["--dataset", "customers"]
    else:
        served = [*source, "--name", "customers"]
    server = start([*PSISHARE, "serve", "--listen", "127.0.0.1:0", *served, *platform, "--json"])
    assert server.process.stdout is not None
    address = json.loads(server.process.stdout.readline())["listening"]
    out = folder / f"{protocol}.csv"
    client = run(
        [
            *PSISHARE,
            "match",
            *("--platform", PLATFORM, "--address", address),
            *("--data", str(lists.authority), "--key", "phone=number", "--region", "DE"),
            *("--dataset", "customers", "--mandate", str(mandate), "--protocol", protocol),
            *("--out", str(out), "--timeout", "600", *authority),
        ]
    )
    ready = time.monotonic()
    server.process.terminate()
    served_cost = server.finish()
    # The server's wall time from its start to the client's end, without its farewell.
    wall_s = ready - server.started
    both = Cost(
        wall_s, served_cost.cpu_s + client.cpu_s, max(served_cost.peak_bytes, client.peak_bytes)
    )
    return Result(encode + both if encode else both, encode, _count(out, lists))


def prepare_parties(folder: Path, max_rows: int) -> Path:
    """Make four homes that know each other, and a signed mandate; none of it is timed."""
    roles = {PLATFORM: "platform", AUTHORITY: "authority", ISSUER: "issuer", VALIDATOR: "issuer"}
    homes = {
        name: init_party(folder / name, party_id=name, role=role, display_name=name)
        for name, role in roles.items()
    }
    for at, whom, trust in (
        (PLATFORM, AUTHORITY, []),
        (PLATFORM, ISSUER, ["issuer"]),
        (PLATFORM, VALIDATOR, ["validator"]),
        (AUTHORITY, PLATFORM, []),
    ):
        card = homes[whom].export_card()
        words = homes[whom].card.fingerprint()
        Peers(homes[at].peers_path).add(card, fingerprint=words, trusted_as=frozenset(trust))
    envelope = new_envelope(
        draft(
            issuer=ISSUER,
            validator=VALIDATOR,
            validator_role="judge",
            authority=AUTHORITY,
            platform=PLATFORM,
            kinds=["phone"],
            outputs=["matches"],
            max_rows_per_exchange=max_rows,
            max_rows_total=max_rows,
            max_exchanges=10,
            jurisdiction="XX",
            legal_basis="measurement",
            purpose="measurement",
            case=CaseReference.new("measurement"),
            not_before=now(),
            not_after=now().replace(year=now().year + 1),
            now=now(),
        )
    )
    for name in (ISSUER, VALIDATOR):
        envelope = sign_envelope(envelope, homes[name].log_signer(), party=name)
    path = folder / "mandate.json"
    path.write_bytes(envelope)
    return path


def _side_by_side(costs: list[Cost]) -> Cost:
    return Cost(
        max(cost.wall_s for cost in costs),
        sum(cost.cpu_s for cost in costs),
        max(cost.peak_bytes for cost in costs),
    )


def _count(out: Path, lists: Lists) -> int:
    """Compare a result file with Python's set intersection and return its rows.

    Raises:
        RuntimeError: a row is missing, or one too many.
    """
    with out.open(encoding="ascii", newline="") as file:
        found = [row["number"] for row in csv.DictReader(file)]
    national = {number.removeprefix("+49").removeprefix("0049").lstrip("0") for number in found}
    if national != lists.common or len(found) != len(national):
        raise RuntimeError(f"{out.name} has {len(found)} rows, not {len(lists.common)}")
    return len(found)
