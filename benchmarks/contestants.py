"""What is measured: psishare's protocols through its command line, and its peers, file to file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import (
    Cost,
    Running,
    finish_together,
    free_ports,
    loopback_bytes,
    run,
    start,
    start_quiet,
)
from benchmarks.parties import AUTHORITY, PLATFORM, prepare_parties
from benchmarks.peer_environment import peer_python

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.lists import Lists

PSISHARE = [sys.executable, "-m", "psishare.cli"]
TIMEOUT_S = 3_600
SMALL_ROWS = 2**20


@dataclass(frozen=True, slots=True)
class Result:
    """One run of one contestant.

    Attributes:
        total: everything, both parties, from their files to the authority's result file.
        platform: the platform's part of it.
        encode: the part that a platform does once an epoch, where there is one.
        sent_bytes: what both parties sent each other, as the loopback interface counts it.
    """

    total: Cost
    platform: Cost
    encode: Cost | None
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class Contestant:
    """Something that finds the common identifiers of two files.

    Attributes:
        name: as tables and plots show it.
        run: given the lists and a folder to work in.
        max_exponent: the logarithm of the largest list that it is given.
        full_max_exponent: the same, in the full campaign.
    """

    name: str
    run: Callable[[Lists, Path], Result]
    max_exponent: int
    full_max_exponent: int


def run_openmined(lists: Lists, folder: Path) -> Result:
    """Run ``openmined-psi`` between two processes, a core each."""
    out, carried = folder / "openmined.csv", folder / "carried"
    peer = [sys.executable, "-m", "benchmarks.openmined_peer"]
    to_server, from_client = os.pipe()
    to_client, from_server = os.pipe()
    started = time.monotonic()
    commands = (
        ([*peer, "server", str(lists.platform)], to_server, from_server),
        ([*peer, "client", str(lists.authority), str(out), str(carried)], to_client, from_client),
    )
    processes = [
        Running(subprocess.Popen(c, stdin=i, stdout=o, text=True), started, c)
        for c, i, o in commands
    ]
    for descriptor in (to_server, from_client, to_client, from_server):
        os.close(descriptor)
    server, client = finish_together(processes, patience_s(lists))
    lists.check(out)
    return Result(server.beside(client), server, None, int(carried.read_text(encoding="ascii")))


def run_secretflow(lists: Lists, folder: Path, protocol: str) -> Result:
    """Run one of SecretFlow's protocols between two processes; its keys are canonical already.

    Raises:
        RuntimeError: the package is not installed.
    """
    python = peer_python()
    if python is None:
        raise RuntimeError("SecretFlow's package does not install here")
    peer = [str(python), str(Path(__file__).with_name("secretflow_peer.py")), protocol]
    ports = [str(port) for port in free_ports(2)]
    before = loopback_bytes()
    sources = (lists.platform, lists.authority_canonical)
    targets = (folder / "platform.csv", folder / "authority.csv")
    # It leaves files where it is run.
    processes = [
        start_quiet([*peer, str(rank), *ports, str(source), str(target)], cwd=folder)
        for rank, (source, target) in enumerate(zip(sources, targets, strict=True))
    ]
    platform, authority = finish_together(processes, patience_s(lists))
    sent_bytes = loopback_bytes() - before
    lists.check(targets[1])
    return Result(platform.beside(authority), platform, None, sent_bytes)


def run_psishare(lists: Lists, folder: Path, protocol: str) -> Result:
    """Run one psishare protocol through its command line, encode and process starts included.

    Both parties are started at the same time, as the peers' are; the authority is started once the
    platform listens where it would not wait so long for it, its own list being the shorter one.
    """
    mandate = prepare_parties(folder, max(lists.n_authority, 1))
    platform_home, home = (["--home", str(folder / name)] for name in (PLATFORM, AUTHORITY))
    source = ["--data", str(lists.platform), "--key", "phone=number", "--region", "DE"]
    before = loopback_bytes()
    encode = None
    served = [*source, "--name", "customers"]
    if protocol == "oprf":
        size = ["--max-query", str(max(lists.n_authority, SMALL_ROWS))]
        encode = run(
            [*PSISHARE, "dataset", "encode", "customers", *source, *size, *platform_home, "--json"]
        )
        served = ["--dataset", "customers"]
    address = f"127.0.0.1:{free_ports(1)[0]}"
    server = start([*PSISHARE, "serve", "--listen", address, *served, *platform_home, "--json"])
    if protocol != "oprf" and lists.n_authority < lists.n_platform:
        require_listening(server)
    out = folder / f"{protocol}.csv"
    asked = [
        *("--platform", PLATFORM, "--address", address),
        *("--data", str(lists.authority), "--key", "phone=number", "--region", "DE"),
        *("--dataset", "customers", "--mandate", str(mandate), "--protocol", protocol),
        *("--out", str(out), "--timeout", str(TIMEOUT_S)),
    ]
    try:
        client = run([*PSISHARE, "match", *asked, *home, "--json"])
        ready = time.monotonic()
    finally:
        server.process.terminate()
        served_cost = server.finish()
    # The server's wall time from its start to the client's end, without its farewell.
    served_cost = Cost(ready - server.started, served_cost.cpu_s, served_cost.peak_bytes)
    sent_bytes = loopback_bytes() - before
    lists.check(out)
    total = served_cost.beside(client)
    if encode is None:
        return Result(total, served_cost, None, sent_bytes)
    return Result(encode + total, encode + served_cost, encode, sent_bytes)


def patience_s(lists: Lists) -> float:
    """Return after how long a peer counts as hung: several times what the slowest one needs."""
    return 30 + 300e-6 * (lists.n_platform + lists.n_authority)


def require_listening(server: Running) -> str:
    """Wait until a server says where it listens.

    Raises:
        RuntimeError: it ended instead.
    """
    assert server.process.stdout is not None
    line = server.process.stdout.readline()
    if not line:
        raise RuntimeError("the server ended before it listened")
    return str(json.loads(line)["listening"])


def _secretflow(
    protocol: str, name: str, max_exponent: int, full_max_exponent: int = 22
) -> Contestant:
    run_ = partial(run_secretflow, protocol=protocol)
    return Contestant(f"SecretFlow {name}", run_, max_exponent, full_max_exponent)


OPRF = Contestant("psishare oprf", partial(run_psishare, protocol="oprf"), 20, 24)
ECDH = Contestant("psishare ecdh", partial(run_psishare, protocol="ecdh"), 20, 24)
OPENMINED = Contestant("OpenMined PSI", run_openmined, 18, 18)
CURVE25519 = _secretflow("ecdh-25519", "ECDH, CURVE_25519", 20)
FOURQ = _secretflow("ecdh-fourq", "ECDH, CURVE_FOURQ", 20)
ELLIGATOR2 = _secretflow("ecdh-25519-elligator2", "ECDH, CURVE_25519_ELLIGATOR2", 17, 17)
KKRT = _secretflow("kkrt", "KKRT", 20)
RR22 = _secretflow("rr22", "RR22", 20)
UNBALANCED = _secretflow("unbalanced", "unbalanced, MODE_FULL", 20)

CONTESTANTS = {
    each.name: each
    for each in (
        OPRF,
        ECDH,
        OPENMINED,
        CURVE25519,
        FOURQ,
        ELLIGATOR2,
        KKRT,
        RR22,
        UNBALANCED,
    )
}
