"""Run sessions in a network of their own and tell what they tried to reach.

Started by ``test_nothing_leaks.py`` inside a fresh network namespace, whose counters begin at zero:
whatever is sent anywhere but to the loopback interface finds no route and is counted, and so is
every datagram, such as a question to a name server.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

PLATFORM, AUTHORITY = "tele.example", "police.example"
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
PSISHARE = [sys.executable, "-m", "psishare.cli"]


def raise_loopback() -> None:
    """Bring the namespace's loopback interface up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = array.array("B", struct.pack("16sH14x", b"lo", 0))
        fcntl.ioctl(control, SIOCGIFFLAGS, request)
        (flags,) = struct.unpack_from("H", request, 16)
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def counters() -> dict[str, int]:
    """Return the namespace's counters, such as ``Udp.OutDatagrams``."""
    found: dict[str, int] = {}
    for name in ("snmp", "snmp6"):
        with contextlib.suppress(FileNotFoundError):
            lines = Path("/proc/self/net", name).read_text(encoding="ascii").splitlines()
            if name == "snmp":
                for header, values in zip(lines[::2], lines[1::2], strict=True):
                    group = header.partition(":")[0]
                    pairs = zip(header.split()[1:], values.split()[1:], strict=True)
                    found |= {f"{group}.{key}": int(value) for key, value in pairs}
            else:
                found |= {key: int(value) for key, value in (line.split() for line in lines)}
    return found


def run(work: Path, name: str, *arguments: str) -> int:
    """Run one command, keeping what it prints beside its name."""
    with (work / f"{name}.stdout").open("wb") as out, (work / f"{name}.stderr").open("wb") as err:
        return subprocess.run(
            [*PSISHARE, *arguments], stdout=out, stderr=err, check=False, timeout=120
        ).returncode


def session(work: Path, plan: dict[str, list[list[str]]]) -> dict[str, int]:
    """Serve once and run every client command of the plan; return their exit codes."""
    codes = {f"before-{i}": run(work, f"before-{i}", *c) for i, c in enumerate(plan["before"])}
    with (work / "serve.stderr").open("wb") as errors:
        server = subprocess.Popen(
            [*PSISHARE, *plan["serve"][0]], stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())["listening"]
        for i, command in enumerate(plan["match"]):
            arguments = [address if a == "ADDRESS" else a for a in command]
            codes[f"match-{i}"] = run(work, f"match-{i}", *arguments)
        server.send_signal(signal.SIGTERM)
        (work / "serve.stdout").write_text(server.stdout.read(), encoding="utf-8")
        codes["serve"] = server.wait(timeout=30)
    return codes


def main() -> None:
    """Run the plan on standard input; print exit codes and counters."""
    plan = json.load(sys.stdin)
    raise_loopback()
    codes = session(Path(os.environ["CANARY_WORK"]), plan)
    json.dump({"codes": codes, "counters": counters()}, sys.stdout)


if __name__ == "__main__":
    main()
