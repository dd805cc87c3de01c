"""Sentinel values go through whole sessions; afterwards everything that was written is searched.

Sessions run as processes in a network namespace of their own, so that a socket to anywhere but the
peer, or a question to a name server, would be counted by the kernel.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from stage import AUTHORITY, KIND, PLATFORM, Stage

HERE = Path(__file__).parent
DOMAIN = "sentinel-never-resolve.example.org"
OURS = [f"15{n:09d}" for n in (918273645, 627384950, 736451928, 845362719)]
THEIRS = [f"15{n:09d}" for n in (918273645, 554433227, 665544338, 736451928)]
DIRTY = "sentinel-dirty-value-4711"


@dataclass(frozen=True)
class Sessions:
    """What the sessions left behind."""

    folder: Path
    codes: dict[str, int]
    counters: dict[str, int]


def unshare() -> list[str]:
    """Return the command that starts a program in a network namespace of its own."""
    program = shutil.which("unshare")
    if program is None:
        pytest.skip("needs unshare (util-linux) for a network namespace")
    command = [program, "--net"] if os.geteuid() == 0 else [program, "--net", "--map-root-user"]
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("this machine permits no network namespaces")
    return command


def csv(folder: Path, name: str, rows: list[str], header: str = "note,number") -> str:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def plan(stage: Stage, root: Path) -> dict[str, list[list[str]]]:
    """Return the commands: good sessions of every protocol, and every kind of failure."""
    inputs = root / "inputs"
    inputs.mkdir()
    home = {name: ["--home", str(stage.homes[name].path)] for name in (PLATFORM, AUTHORITY)}
    theirs = csv(inputs, "theirs.csv", [f"x,+49{n}" for n in THEIRS])
    ours = csv(inputs, "ours.csv", [f"x,0{n}" for n in OURS] + [f"x,{DIRTY}"])
    ragged = csv(inputs, "ragged.csv", [f"x,+49{OURS[0]},{DIRTY},{DIRTY}"])
    latin = inputs / "latin.csv"
    latin.write_bytes(f"note,number\nx,+49{OURS[1]}\xe9{DIRTY}\n".encode("latin-1"))
    emails = csv(inputs, "emails.csv", [f"x,{OURS[0]}@{DOMAIN}", f"x,{DIRTY}@"])
    good, expired = root / "good.mandate", root / "expired.mandate"
    kinds = [KIND, "email"]
    good.write_bytes(stage.envelope(kinds=kinds))
    expired.write_bytes(stage.envelope(kinds=kinds, max_rows_per_exchange=1))
    key, region = ["--key", "phone=number"], ["--region", "DE"]

    def match(out: str, data: str, *more: str, mandate: Path = good) -> list[str]:
        asked = ["match", *home[AUTHORITY], "--platform", PLATFORM, "--address", "ADDRESS"]
        where = ["--data", data, "--mandate", str(mandate)]
        result = ["--out", str(root / "results" / out)] if out else []
        return [*asked, *where, *result, *more]

    (root / "results").mkdir()
    phones, by_list = [*key, *region, "--dataset", "encoded"], [*key, *region, "--dataset", "plain"]
    mails = ["--key", "email=number", "--dataset", "mails"]
    encode = ["dataset", "encode", *home[PLATFORM]]
    return {
        "before": [
            [*encode, "encoded", "--data", theirs, *key, *region],
            [*encode, "mails", "--data", emails, "--key", "email=number"],
            [*encode, "never", "--data", ragged, *key, *region],
            [*encode, "never", "--data", str(latin), *key, *region],
        ],
        "serve": [
            [
                "serve",
                *home[PLATFORM],
                "--listen",
                "127.0.0.1:0",
                "--dataset",
                "encoded",
                "--dataset",
                "mails",
                "--data",
                theirs,
                *key,
                *region,
                "--name",
                "plain",
                "--json",
            ]
        ],
        "match": [
            match("oprf.csv", ours, *phones),
            match("ecdh.csv", ours, *by_list, "--protocol", "ecdh"),
            match("", ours, *by_list, "--protocol", "ecdh", "--output", "count", "--json"),
            match("mails.csv", emails, *mails),
            match("refused.csv", ours, *phones, mandate=expired),
            match("ragged.csv", ragged, *phones),
            match("latin.csv", str(latin), *phones),
            match("wrong.csv", ours, *key, *region, "--dataset", "unknown"),
        ],
    }


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Sessions:
    root = tmp_path_factory.mktemp("canary")
    stage = Stage(root / "homes")
    commands = plan(stage, root)
    work, temporary = root / "printed", root / "temporary"
    work.mkdir()
    temporary.mkdir()
    environment = os.environ | {
        "CANARY_WORK": str(work),
        "TMPDIR": str(temporary),
        "GRPC_VERBOSITY": "debug",
    }
    done = subprocess.run(
        [*unshare(), sys.executable, str(HERE / "alone.py")],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return Sessions(root, told["codes"], told["counters"])


def forms(value: str) -> list[bytes]:
    """Return the ways in which a value could be told."""
    spelt = [value, f"+49{value}", f"0{value}"] if value.isdigit() else [value]
    canonical = [b"phone\x00\x00+49" + value.encode()] if value.isdigit() else []
    plain = [s.encode() for s in spelt] + canonical
    digests = [
        algorithm(p).digest()
        for p in plain
        for algorithm in (hashlib.sha256, hashlib.sha1, hashlib.md5)
    ]
    hexed = [x.hex().encode() for x in plain + digests]
    return plain + digests + hexed + [base64.b64encode(x).rstrip(b"=") for x in plain]


def written(sessions: Sessions) -> dict[Path, bytes]:
    """Return everything that the sessions wrote, but for inputs and results."""
    skipped = {sessions.folder / "inputs", sessions.folder / "results"}
    return {
        path: path.read_bytes()
        for path in sessions.folder.rglob("*")
        if path.is_file() and not skipped & set(path.parents)
    }


def test_sessions_ended_as_planned(sessions: Sessions) -> None:
    assert sessions.codes == {
        "before-0": 0,
        "before-1": 0,
        "before-2": 4,
        "before-3": 4,
        "match-0": 0,
        "match-1": 0,
        "match-2": 0,
        "match-3": 0,
        "match-4": 5,
        "match-5": 4,
        "match-6": 4,
        "match-7": 5,
        "serve": 0,
    }
    results = sorted(path.name for path in (sessions.folder / "results").iterdir())
    assert results == ["ecdh.csv", "mails.csv", "oprf.csv"]
    rows = (sessions.folder / "results" / "oprf.csv").read_text(encoding="utf-8")
    assert rows == f"note,number\nx,0{OURS[0]}\nx,0{OURS[2]}\n"


def test_no_identifier_is_written_anywhere(sessions: Sessions) -> None:
    everything = written(sessions)
    assert len(everything) > 50
    for value in {*OURS, *THEIRS, DOMAIN, DIRTY}:
        for form in forms(value):
            found = [str(path) for path, data in everything.items() if form in data]
            assert not found, f"a form of a sentinel value stands in {found}"


def test_the_search_would_find_an_identifier(sessions: Sessions) -> None:
    inputs = [path.read_bytes() for path in (sessions.folder / "inputs").iterdir()]
    for value in (*OURS, *THEIRS, DOMAIN, DIRTY):
        assert any(form in data for form in forms(value) for data in inputs)


def test_no_element_or_key_leaves_its_place(sessions: Sessions) -> None:
    """What an exchange keeps by design is in no other file, printed line or log."""
    everything = written(sessions)
    homes = sessions.folder / "homes"
    sealed = {p: d for p, d in everything.items() if p.name in {"elements", "opening.sealed"}}
    keys = {p: d for p, d in everything.items() if "keys" in p.parts or p.name == "key.json"}
    shards = {p: d for p, d in everything.items() if p.name.startswith("shard-")}
    assert len(sealed) >= 3 * 2
    assert keys
    assert shards
    for path, data in {**sealed, **shards}.items():
        width = 32 if path.name == "elements" else 11
        for start in range(0, min(len(data), 4 * width), width):
            piece = data[start : start + width]
            elsewhere = [
                p for p, d in everything.items() if piece in d or piece.hex().encode() in d
            ]
            assert all(p.name == path.name for p in elsewhere)
    for path, data in keys.items():
        secret = json.loads(data)["secret"].encode()
        raw = base64.b64decode(secret)
        others = {p: d for p, d in everything.items() if p != path}
        assert not [
            p for p, d in others.items() if secret in d or raw in d or raw.hex().encode() in d
        ]
    assert homes.is_dir()


def test_no_temporary_file_is_left(sessions: Sessions) -> None:
    assert list((sessions.folder / "temporary").rglob("*")) == []


def test_no_socket_but_the_peers_was_opened(sessions: Sessions) -> None:
    counters = sessions.counters
    connected = [name for name, code in sessions.codes.items() if name.startswith("match")]
    assert counters["Ip.OutNoRoutes"] == 0
    assert counters.get("Ip6OutNoRoutes", 0) == 0
    assert counters["Udp.OutDatagrams"] == 0
    assert counters["Udp.NoPorts"] == 0
    assert counters.get("Udp6OutDatagrams", 0) == 0
    assert 0 < counters["Tcp.ActiveOpens"] <= len(connected)
    assert counters["Tcp.AttemptFails"] == 0
