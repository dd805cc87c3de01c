"""Fail if the generated wire code is not what protocols/specs/wire.proto gives."""

from __future__ import annotations

import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SPECS = ROOT / "protocols" / "specs"
COMMITTED = ROOT / "psishare" / "transport"


def main() -> None:
    """Generate into a temporary folder and compare."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "grpc_tools.protoc",
                f"-Ipsishare/transport={SPECS}",
                f"--python_out={folder}",
                f"--pyi_out={folder}",
                "psishare/transport/wire.proto",
            ],
            check=True,
        )
        for name in ("wire_pb2.py", "wire_pb2.pyi"):
            if not filecmp.cmp(
                Path(folder) / "psishare/transport" / name, COMMITTED / name, shallow=False
            ):
                sys.exit(f"{COMMITTED / name} is not current; generate it again from wire.proto")


if __name__ == "__main__":
    main()
