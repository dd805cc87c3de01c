"""A signer as somebody else would write it: a program that holds a key and shares no code with psishare.

    python signer_program.py SEED-FILE [FAULT]

Speaks the protocol of protocols/specs/key-file.md, section 6, on its standard streams. A fault makes it
misbehave: ``wrong`` signs something else, ``short`` sends half an answer, ``long`` announces too much,
``refuse`` says that it failed, ``die`` ends, ``hang`` is silent, ``other`` has another key each time.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey


def main() -> None:
    seed, fault = Path(sys.argv[1]).read_bytes(), "".join(sys.argv[2:])
    if fault == "other":
        seed = os.urandom(32)
    keys: dict[int, Any] = {
        0x01: Ed25519PrivateKey.from_private_bytes(seed),
        0x06: MLDSA44PrivateKey.from_seed_bytes(seed),
    }
    reading, writing = sys.stdin.buffer, sys.stdout.buffer
    while head := reading.read(6):
        operation, algorithm, length = struct.unpack(">BBI", head)
        message, key = reading.read(length), keys[algorithm]
        if operation == 0x01:
            answer = key.public_key().public_bytes_raw()
        else:
            misbehave(fault)
            answer = key.sign(b"something else" if fault == "wrong" else message)
        if operation == 0x02 and fault == "refuse":
            writing.write(struct.pack(">BI", 1, 0))
        elif operation == 0x02 and fault == "long":
            writing.write(struct.pack(">BI", 0, 2**31) + answer)
        elif operation == 0x02 and fault == "short":
            writing.write(struct.pack(">BI", 0, len(answer)) + answer[:9])
            writing.flush()
            return
        else:
            writing.write(struct.pack(">BI", 0, len(answer)) + answer)
        writing.flush()


def misbehave(fault: str) -> None:
    if fault == "die":
        sys.exit(1)
    if fault == "hang":
        signal.pause()


if __name__ == "__main__":
    main()
