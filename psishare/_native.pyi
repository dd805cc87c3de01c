"""The Rust core: batches of group operations on Arrow arrays, on all cores, without the GIL.

Every array crosses as an Arrow array through the PyCapsule interface; anything with
``__arrow_c_array__`` is accepted and ``pyarrow.Array`` is returned. Nulls are refused. Secrets
live in classes that are zeroized on release and print ``<redacted>``.
"""

from typing import final

import pyarrow as pa

__all__ = [
    "EcdhScalar",
    "OprfKey",
    "Seed",
    "__version__",
    "base_mode",
    "blind_rfc9497",
    "blind_with",
    "contains",
    "contains_in_frames",
    "distinct_rows",
    "first_not_increasing",
    "is_canonical_element",
    "lookup",
    "merkle_root",
    "one_way_map",
    "prove_rfc9497",
    "prove_with",
    "require_elements",
    "shard_encode",
    "shard_lookup",
    "shard_verify",
    "sort_distinct",
    "sort_elements",
    "verify_rfc9497",
]

__version__: str

@final
class OprfKey:
    """A platform's secret key of RFC 9497, VOPRF mode, suite ristretto255-SHA512."""

    @staticmethod
    def generate() -> OprfKey:
        """Return a key from the operating system's randomness (RFC 9497 section 3.2).

        ``RandomScalar`` reduces 64 random bytes (section 4.7.2).

        Raises:
            InternalError: the operating system gives no randomness.
        """

    @staticmethod
    def derive_key_pair(seed: bytes, info: bytes) -> OprfKey:
        """Return the key of ``DeriveKeyPair`` (RFC 9497 section 3.2.1).

        Raises:
            InputError: ``seed`` is not 32 bytes, or ``info`` is over 65,535 bytes.
        """

    @staticmethod
    def from_secret_bytes(secret: bytes) -> OprfKey:
        """Return the key whose scalar is ``secret``, 32 bytes, canonical, not zero.

        Raises:
            InputError: not such a scalar.
        """

    def secret_bytes(self) -> bytes:
        """Return the secret scalar, 32 bytes little-endian, for a key file and nothing else."""

    @property
    def public_key(self) -> bytes:
        """The public key, 32 bytes, ``SerializeElement``."""

    def evaluate(self, identifiers: pa.Array) -> pa.FixedSizeBinaryArray:
        """Return the PRF output of each identifier (RFC 9497 section 3.3.1, ``Evaluate``).

        Args:
            identifiers: ``binary`` or ``large_binary``, shape ``(n,)``, no nulls, each at most
                65,535 bytes.

        Returns:
            ``fixed_size_binary[64]``, shape ``(n,)``, same order.

        Raises:
            InputError: a value is too long or maps to the identity. Names the row.
        """

    def fingerprints(self, identifiers: pa.Array, *, bits: int) -> pa.FixedSizeBinaryArray:
        """Return the first ``bits`` bits of each PRF output, as ``ceil(bits / 8)`` bytes.

        The bits after the last one wanted are zero. As ``evaluate`` otherwise.

        Raises:
            InputError: as ``evaluate``; or ``bits`` is not in 1 to 512.
        """

    def blind_evaluate(
        self, elements: pa.FixedSizeBinaryArray
    ) -> tuple[pa.FixedSizeBinaryArray, bytes]:
        """Evaluate a frame of blinded elements and prove it (section 3.3.2, ``BlindEvaluate``).

        Args:
            elements: ``fixed_size_binary[32]``, shape ``(n,)``, 1 to 65,535 rows, no nulls.

        Returns:
            The evaluated elements, ``fixed_size_binary[32]``, same order; and the DLEQ proof,
            64 bytes, with a fresh random nonce.

        Raises:
            ProtocolError: an element is the identity or not canonical. Names the row.
        """

@final
class Seed:
    """The 32 secret bytes that one exchange's blinds, order and scalar are derived from."""

    @staticmethod
    def generate() -> Seed:
        """Return a fresh seed from the operating system's randomness."""

    @staticmethod
    def from_secret_bytes(secret: bytes) -> Seed:
        """Return the seed of an opening; 32 bytes.

        Raises:
            InputError: not 32 bytes.
        """

    def secret_bytes(self) -> bytes:
        """Return the 32 bytes, to be sealed into the opening and nothing else."""

    def commitment(self, input_root: bytes) -> bytes:
        """Return SHA-256("psishare/opening/v1" || seed || input_root); ``input_root`` 32 bytes."""

    def order(self, n_rows: int) -> pa.UInt64Array:
        """Return the secret permutation: at position p, the index of the value sent there.

        Returns:
            ``uint64``, shape ``(n_rows,)``, each of 0 to n_rows - 1 once (oprf.md, "Order").
        """

    def blind(self, identifiers: pa.Array, indices: pa.UInt64Array) -> pa.FixedSizeBinaryArray:
        """Blind identifiers for ``oprf`` (RFC 9497 section 3.3.1, ``Blind``).

        Args:
            identifiers: ``binary`` or ``large_binary``, shape ``(n,)``, no nulls.
            indices: ``uint64``, shape ``(n,)``: each value's index among the distinct values in
                first-occurrence order, which its blind is derived from.

        Returns:
            ``fixed_size_binary[32]``, shape ``(n,)``, same order as given.

        Raises:
            InputError: a value is too long or maps to the identity. Names the row.
        """

    def finalize(
        self,
        identifiers: pa.Array,
        indices: pa.UInt64Array,
        blinded: pa.FixedSizeBinaryArray,
        evaluated: pa.FixedSizeBinaryArray,
        *,
        proof: bytes,
        public_key: bytes,
        bits: int,
    ) -> pa.FixedSizeBinaryArray:
        """Verify a frame's proof, then unblind and hash it (section 3.3.2, ``Finalize``).

        Returns:
            The first ``bits`` bits of each PRF output, as ``OprfKey.fingerprints`` gives them.

        Raises:
            ProtocolError: the proof is wrong, the public key is the identity, the row counts
                differ, or an element is the identity or not canonical.
        """

    def scalar(self) -> EcdhScalar:
        """Return the secret scalar of ``ecdh`` that this seed derives (ecdh.md, "Scalars")."""

@final
class EcdhScalar:
    """One party's secret scalar of one ``ecdh`` exchange."""

    def blind(self, identifiers: pa.Array) -> pa.FixedSizeBinaryArray:
        """Return scalar * hash_to_group(identifier) for each identifier (ecdh.md).

        Args and errors as ``Seed.blind``; returns ``fixed_size_binary[32]``, same order.
        """

    def multiply(self, elements: pa.FixedSizeBinaryArray) -> pa.FixedSizeBinaryArray:
        """Return scalar * element for each of the peer's elements, same order.

        Raises:
            ProtocolError: an element is the identity or not canonical. Names the row.
        """

def require_elements(elements: pa.FixedSizeBinaryArray) -> None:
    """Refuse a column of the peer's that does not hold elements alone; cheaper than multiplying.

    Args:
        elements: ``fixed_size_binary[32]``, shape ``(n,)``.

    Raises:
        ProtocolError: an element is the identity or not canonical. Names the row.
    """

def sort_elements(
    elements: pa.FixedSizeBinaryArray,
) -> tuple[pa.FixedSizeBinaryArray, pa.UInt64Array]:
    """Sort fixed-size values by bytes.

    Returns:
        The sorted values, same type; and at each position the row that it came from.
    """

def first_not_increasing(elements: pa.FixedSizeBinaryArray, previous: bytes | None) -> int | None:
    """Return the first row that is not above the one before it, or None.

    Args:
        elements: fixed-size values, shape ``(n,)``.
        previous: the last value of the frame before, or None for the first frame.
    """

def distinct_rows(values: pa.Array) -> tuple[pa.UInt32Array, pa.UInt32Array]:
    """Find the distinct values of a column.

    Args:
        values: ``binary`` or ``large_binary``, shape ``(n,)``, no nulls.

    Returns:
        The first row of each distinct value, increasing; and for each row the index of its value among
        them, shape ``(n,)``.

    Raises:
        InputError: there are 2^32 rows or more.
    """

def contains(
    haystack: pa.FixedSizeBinaryArray, needles: pa.FixedSizeBinaryArray
) -> pa.BooleanArray:
    """Return, for each needle, whether the haystack holds it; any order, same width."""

def contains_in_frames(
    haystack: list[pa.FixedSizeBinaryArray], needles: list[pa.FixedSizeBinaryArray]
) -> pa.BooleanArray:
    """Do what ``contains`` does with columns that lie in frames; neither is copied.

    Args:
        haystack: frames, each with as many rows as the first, but for the last.
        needles: likewise.

    Returns:
        Shape ``(n,)`` over all needles, in the order of the frames.
    """

def lookup(haystack: pa.FixedSizeBinaryArray, needles: pa.FixedSizeBinaryArray) -> pa.BooleanArray:
    """Return, for each needle, whether a strictly increasing column holds it; same width.

    Costs the needles times the logarithm of the column, which may be mapped from a file.
    """

def sort_distinct(fingerprints: pa.FixedSizeBinaryArray, *, bits: int) -> pa.FixedSizeBinaryArray:
    """Sort fingerprints by bytes and leave out what occurs twice: one run of an encoding.

    Args:
        fingerprints: ``fixed_size_binary[ceil(bits / 8)]``, shape ``(n,)``.
        bits: 1 to 120; the bits after them are zero.

    Raises:
        InputError: they are not fingerprints of that many bits.
    """

def shard_encode(
    runs: list[pa.FixedSizeBinaryArray], *, bits: int, prefix_bits: int, prefix: int
) -> tuple[bytes, int]:
    """Merge sorted runs into the shard of one prefix (dataset.md, section 3).

    Args:
        runs: as ``sort_distinct`` returns them; may be mapped from files.
        bits: of a fingerprint, 1 to 120.
        prefix_bits: 0 to 13.
        prefix: below 2^prefix_bits.

    Returns:
        The shard's bytes, and its number of items, duplicates left out.

    Raises:
        InputError: the runs are not sorted fingerprints of that many bits, spread as a PRF's are.
    """

def shard_lookup(
    shards: list[pa.UInt8Array], needles: pa.FixedSizeBinaryArray, *, bits: int
) -> pa.BooleanArray:
    """Return, for each needle, whether the shard of its prefix holds it.

    Args:
        shards: the bytes of one shard for each prefix, in order; may be mapped from files.
        needles: ``fixed_size_binary[ceil(bits / 8)]``, shape ``(n,)``, any order.
        bits: of a fingerprint, 1 to 120.

    Raises:
        ProtocolError: a shard is not one of that many bits and that place.
        InputError: the number of shards is no power of two, or the needles have another width.
    """

def shard_verify(
    shard: pa.UInt8Array, *, bits: int, prefix_bits: int, prefix: int, items: int
) -> None:
    """Verify that a shard is the one encoding of what it holds, and belongs to its place.

    Raises:
        ProtocolError: it is not.
    """

def merkle_root(values: pa.Array) -> bytes:
    """Return the RFC 6962 Merkle tree hash over ``binary`` or ``large_binary`` values, in order."""

def one_way_map(uniform: bytes) -> bytes:
    """Return the ristretto255 element that 64 uniform bytes map to (RFC 9496 section 4.3.4).

    For conformance tests.
    """

def is_canonical_element(encoding: bytes) -> bool:
    """Tell whether 32 bytes decode to a ristretto255 element (RFC 9496 section 4.3.1).

    For conformance tests; True for the identity.
    """

def blind_with(identifiers: pa.Array, blinds: bytes) -> pa.FixedSizeBinaryArray:
    """Blind (oprf.md, section 6) with given scalars of 32 bytes, for test vectors only."""

def blind_rfc9497(identifiers: pa.Array, blinds: bytes) -> pa.FixedSizeBinaryArray:
    """Blind as RFC 9497 section 3.3.1 has it, with given scalars of 32 bytes, for its vectors only."""

def prove_with(
    key: OprfKey, blinded: pa.FixedSizeBinaryArray, evaluated: pa.FixedSizeBinaryArray, nonce: bytes
) -> bytes:
    """Make a frame's proof (oprf.md, section 8) with a given nonce, for test vectors only."""

def prove_rfc9497(
    key: OprfKey, blinded: pa.FixedSizeBinaryArray, evaluated: pa.FixedSizeBinaryArray, nonce: bytes
) -> bytes:
    """Make a proof as RFC 9497 section 2.2.1 has it, for the published vectors only."""

def verify_rfc9497(
    blinded: pa.FixedSizeBinaryArray,
    evaluated: pa.FixedSizeBinaryArray,
    *,
    proof: bytes,
    public_key: bytes,
) -> None:
    """Verify a proof as RFC 9497 section 2.2.2 has it, for the published vectors only.

    Raises:
        ProtocolError: it does not hold. Exchanges take another proof: ``Seed.finalize``.
    """

def base_mode(
    identifiers: pa.Array, blinds: bytes, *, seed: bytes, info: bytes
) -> tuple[bytes, pa.FixedSizeBinaryArray, pa.FixedSizeBinaryArray, pa.FixedSizeBinaryArray]:
    """Run mode 0x00 from ``DeriveKeyPair`` to ``Finalize``, for the published vectors only.

    Returns:
        The secret key; the blinded and the evaluated elements, ``fixed_size_binary[32]``; the
        outputs, ``fixed_size_binary[64]``.
    """
