"""Signs for psishare with an Ed25519 key in a PKCS#11 token: a program for ``signer = "process"``.

    python pkcs11_signer.py MODULE TOKEN-LABEL KEY-LABEL PIN-FILE

It speaks the protocol of protocols/specs/key-file.md, section 6, on its standard streams, needs
python-pkcs11, and shares no code with psishare. The key never leaves the token, and the PIN never comes
near psishare.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import pkcs11

PUBLIC_KEY, SIGN = 0x01, 0x02
ED25519 = 0x01
DONE, FAILED = 0x00, 0x01
PUBLIC_BYTES = 32


def main() -> None:
    module, token_label, key_label, pin_file = sys.argv[1:]
    token = pkcs11.lib(module).get_token(token_label=token_label)
    pin = Path(pin_file).read_text(encoding="utf-8").strip()
    with token.open(user_pin=pin) as session:
        serve(session, key_label)


def serve(session: Any, label: str) -> None:
    reading, writing = sys.stdin.buffer, sys.stdout.buffer
    while head := reading.read(6):
        operation, algorithm, length = struct.unpack(">BBI", head)
        message = reading.read(length)
        try:
            result = answer(session, label, operation, algorithm, message)
        except (pkcs11.PKCS11Error, LookupError) as error:
            print(f"the token does not do it: {type(error).__name__}", file=sys.stderr)
            writing.write(struct.pack(">BI", FAILED, 0))
        else:
            writing.write(struct.pack(">BI", DONE, len(result)) + result)
        writing.flush()


def answer(session: Any, label: str, operation: int, algorithm: int, message: bytes) -> bytes:
    if algorithm != ED25519:
        raise LookupError
    if operation == PUBLIC_KEY:
        key = session.get_key(pkcs11.ObjectClass.PUBLIC_KEY, pkcs11.KeyType.EC_EDWARDS, label)
        # A token may wrap the point in an octet string; its last 32 bytes are the key.
        return bytes(key[pkcs11.Attribute.EC_POINT])[-PUBLIC_BYTES:]
    key = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, pkcs11.KeyType.EC_EDWARDS, label)
    signature: bytes = key.sign(message, mechanism=pkcs11.Mechanism.EDDSA)
    return signature


if __name__ == "__main__":
    main()
