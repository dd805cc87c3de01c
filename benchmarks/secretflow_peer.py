"""One party of SecretFlow's PSI (the package ``spu``), file to file; run in that package's environment.

``NAME RANK PORT PORT INPUT OUTPUT``: the same task as psishare's, with the protocol that NAME says.
Rank 0 is the platform, rank 1 the authority, who alone receives the result. Both parties' keys are
canonical and distinct already: the package has no canonical forms, and its time is without them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import spu.libspu as libspu  # type: ignore[import-not-found]
import spu.psi as psi  # type: ignore[import-not-found]

PLATFORM, AUTHORITY = 0, 1
KEY_BYTES = 32
TIMEOUT_MS = 3_600_000
CURVES = {
    "ecdh-25519": psi.EllipticCurveType.CURVE_25519,
    "ecdh-fourq": psi.EllipticCurveType.CURVE_FOURQ,
    "ecdh-25519-elligator2": psi.EllipticCurveType.CURVE_25519_ELLIGATOR2,
}
PROTOCOLS = {"kkrt": psi.PsiProtocol.PROTOCOL_KKRT, "rr22": psi.PsiProtocol.PROTOCOL_RR22}


def connect(rank: int, ports: list[str]) -> object:
    """Connect both parties over loopback."""
    description = libspu.link.Desc()
    description.recv_timeout_ms = TIMEOUT_MS
    for place, port in enumerate(ports):
        description.add_party(f"party{place}", f"127.0.0.1:{port}")
    return libspu.link.create_brpc(description, rank)


def run_balanced(name: str, link: object, source: Path, target: Path) -> None:
    """Run one of the protocols for lists of like size."""
    if name in CURVES:
        protocol = psi.PsiProtocolConfig(
            protocol=psi.PsiProtocol.PROTOCOL_ECDH,
            receiver_rank=AUTHORITY,
            ecdh_params=psi.EcdhParams(curve=CURVES[name]),
        )
    else:
        protocol = psi.PsiProtocolConfig(protocol=PROTOCOLS[name], receiver_rank=AUTHORITY)
    config = psi.PsiExecuteConfig(
        protocol_conf=protocol,
        input_params=psi.InputParams(path=str(source), selected_keys=["number"], keys_unique=True),
        output_params=psi.OutputParams(path=str(target), disable_alignment=True),
    )
    psi.psi_execute(config, link)


def run_unbalanced(rank: int, link: object, source: Path, target: Path) -> None:
    """Run the mode in which the platform's set is handed over first, all of it at once."""
    key = target.with_suffix(".key")
    key.write_bytes(os.urandom(KEY_BYTES))
    config = psi.UbPsiExecuteConfig(
        mode=psi.UbPsiMode.MODE_FULL,
        role=psi.UbPsiRole.ROLE_SERVER if rank == PLATFORM else psi.UbPsiRole.ROLE_CLIENT,
        client_receive_result=True,
        cache_path=str(target.with_suffix(".cache")),
        input_params=psi.InputParams(path=str(source), selected_keys=["number"], keys_unique=True),
        output_params=psi.OutputParams(path=str(target), disable_alignment=True),
        server_params=psi.UbPsiServerParams(secret_key_path=str(key)),
    )
    psi.ub_psi_execute(config, link)


def main() -> None:
    """Play one party."""
    name, rank, *ports, source, target = sys.argv[1:]
    link = connect(int(rank), ports)
    # The package wants absolute paths.
    paths = Path(source).absolute(), Path(target).absolute()
    if name == "unbalanced":
        run_unbalanced(int(rank), link, *paths)
    else:
        run_balanced(name, link, *paths)


if __name__ == "__main__":
    main()
