"""One evaluation on one core beside one X25519 agreement of OpenSSL's, in turns."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

PROTOCOLS = Path(__file__).parent.parent / "protocols"
EXAMPLE = PROTOCOLS / "target" / "release" / "examples" / "evaluate"
AGREEMENTS = 10_000


@dataclass(frozen=True, slots=True)
class OneCore:
    """Microseconds on one core.

    Attributes:
        backend: the name of what psishare chose to compute with here.
        evaluate_us: one evaluation, from canonical bytes to a fingerprint.
        portable_us: the same on curve25519-dalek, with the fastest of its backends that is stable.
        x25519_us: one X25519 agreement.
    """

    backend: str
    evaluate_us: float
    portable_us: float
    x25519_us: float


def build() -> None:
    """Build what measures, which is not to be timed."""
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--manifest-path"]
    subprocess.run(
        [*command, PROTOCOLS / "Cargo.toml", "-p", "psishare-psi", "--example", "evaluate"],
        check=True,
    )


def measure() -> OneCore:
    """Measure once, each for a fraction of a second."""
    answer = subprocess.run([EXAMPLE], check=True, capture_output=True, text=True)
    chosen, portable = json.loads(answer.stdout)
    return OneCore(chosen["backend"], chosen["us"], portable["us"], _x25519_us())


def _x25519_us() -> float:
    """Ask OpenSSL itself where it is installed; else the copy within ``cryptography``."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return _x25519_in_python_us()
    speed = [openssl, "speed", "-mr", "-seconds", "1", "ecdhx25519"]
    answer = subprocess.run(speed, check=True, capture_output=True, text=True)
    line = next(line for line in answer.stdout.splitlines() if line.startswith("+F5:"))
    return 1e6 / float(line.split(":")[3])


def _x25519_in_python_us() -> float:
    ours, theirs = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
    started = time.process_time()
    for _ in range(AGREEMENTS):
        ours.exchange(theirs)
    return 1e6 * (time.process_time() - started) / AGREEMENTS
