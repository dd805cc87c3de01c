"""The authority's computation in one exchange, chosen by protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from psishare.psi import suite
from psishare.psi.ecdh import EcdhAuthority
from psishare.psi.openmined import OpenminedAuthority, require_size
from psishare.psi.oprf import OprfAuthority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from psishare import _native
    from psishare.exchange.signed_frames import SignedFrames
    from psishare.exchange.synchronise import Synchronised
    from psishare.psi.suite import Output


class Driver(Protocol):
    """The authority's computation in one exchange."""

    def run(
        self, identifiers: pa.Array, channel: SignedFrames, progress: Callable[[int], None]
    ) -> pa.Array:
        """Ask about every identifier; return the indices that matched, ``uint64``, ascending."""

    def requests(self, identifiers: pa.Array, frame_rows: int) -> Iterator[pa.FixedSizeBinaryArray]:
        """Yield the elements of each request frame, in order, exactly as ``run`` sends them."""


def authority_driver(
    protocol: suite.Protocol,
    output: Output,
    n_rows: int,
    seed: _native.Seed,
    encoded: Synchronised | None,
) -> Driver:
    """Choose the computation.

    Raises:
        ConfigError: it needs a package that is not installed.
        InputError: the list is too long for it.
    """
    if encoded is not None:
        manifest = encoded.signed.manifest
        return OprfAuthority(
            seed=seed,
            public_key=bytes.fromhex(manifest.public_key),
            bits=manifest.fingerprint_bits,
            lookup=encoded.contents.contains,
        )
    if protocol is suite.Protocol.OPENMINED:
        require_size(n_rows)
        return OpenminedAuthority(seed=seed)
    return EcdhAuthority(scalar=seed.scalar(), output=output)
