"""A slow reference of psishare's cryptography, written from the RFCs and the specs alone.

Python integers and ``hashlib`` only: it shares nothing with the Rust core, so that the two can be
compared. Not constant-time, not for use. Points are affine-free extended coordinates (X, Y, Z, T)
of RFC 8032; section numbers are RFC 9496's, 9380's and 9497's.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = (-121665 * pow(121666, -1, P)) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


class Point(NamedTuple):
    """A point of edwards25519; an element is its class modulo the 4-torsion."""

    x: int
    y: int
    z: int
    t: int


IDENTITY = Point(0, 1, 1, 0)


def is_negative(value: int) -> bool:
    """RFC 9496 section 3.1: a field element is negative where its canonical form is odd."""
    return value % P % 2 == 1


def absolute(value: int) -> int:
    """RFC 9496 section 3.1, ``CT_ABS``."""
    return -value % P if is_negative(value) else value % P


def sqrt_ratio_m1(u: int, v: int) -> tuple[bool, int]:
    """RFC 9496 section 4.2, ``SQRT_RATIO_M1``."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    correct = check == u % P
    flipped = check == -u % P
    flipped_i = check == -u * SQRT_M1 % P
    if flipped or flipped_i:
        r = r * SQRT_M1 % P
    return correct or flipped, absolute(r)


SQRT_AD_MINUS_ONE = -sqrt_ratio_m1(-D - 1, 1)[1] % P
INVSQRT_A_MINUS_D = sqrt_ratio_m1(1, -1 - D)[1]
ONE_MINUS_D_SQ = (1 - D * D) % P
D_MINUS_ONE_SQ = (D - 1) ** 2 % P


def add(p: Point, q: Point) -> Point:
    """RFC 8032 section 5.1.4."""
    a = (p.y - p.x) * (q.y - q.x) % P
    b = (p.y + p.x) * (q.y + q.x) % P
    c = 2 * p.t * q.t * D % P
    d = 2 * p.z * q.z % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return Point(e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar: int, point: Point) -> Point:
    """Double and add."""
    result = IDENTITY
    for bit in bin(scalar % ORDER)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def decode(encoding: bytes) -> Point | None:
    """RFC 9496 section 4.3.1; None where it fails."""
    s = int.from_bytes(encoding, "little")
    if len(encoding) != 32 or s >= P or is_negative(s):
        return None
    ss = s * s % P
    u1, u2 = 1 - ss, 1 + ss
    u2_sqr = u2 * u2 % P
    v = (-(D * u1 * u1) - u2_sqr) % P
    was_square, invsqrt = sqrt_ratio_m1(1, v * u2_sqr)
    den_x = invsqrt * u2 % P
    den_y = invsqrt * den_x * v % P
    x = absolute(2 * s * den_x)
    y = u1 * den_y % P
    t = x * y % P
    if not was_square or is_negative(t) or y == 0:
        return None
    return Point(x, y, 1, t)


def encode(point: Point) -> bytes:
    """RFC 9496 section 4.3.2."""
    x0, y0, z0, t0 = point
    u1 = (z0 + y0) * (z0 - y0) % P
    u2 = x0 * y0 % P
    _, invsqrt = sqrt_ratio_m1(1, u1 * u2 * u2)
    den1 = invsqrt * u1 % P
    den2 = invsqrt * u2 % P
    z_inv = den1 * den2 * t0 % P
    if is_negative(t0 * z_inv):
        x, y, den_inv = y0 * SQRT_M1 % P, x0 * SQRT_M1 % P, den1 * INVSQRT_A_MINUS_D % P
    else:
        x, y, den_inv = x0, y0, den2
    if is_negative(x * z_inv):
        y = -y % P
    return absolute(den_inv * (z0 - y)).to_bytes(32, "little")


def _map(uniform: bytes) -> Point:
    """RFC 9496 section 4.3.4, ``MAP``."""
    t = int.from_bytes(uniform, "little") % 2**255 % P
    r = SQRT_M1 * t * t % P
    u = (r + 1) * ONE_MINUS_D_SQ % P
    v = (-1 - r * D) * (r + D) % P
    was_square, s = sqrt_ratio_m1(u, v)
    c = -1
    if not was_square:
        s, c = -absolute(s * t) % P, r
    n = (c * (r - 1) * D_MINUS_ONE_SQ - v) % P
    w0 = 2 * s * v % P
    w1 = n * SQRT_AD_MINUS_ONE % P
    w2, w3 = (1 - s * s) % P, (1 + s * s) % P
    return Point(w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P)


def one_way_map(uniform: bytes) -> Point:
    """RFC 9496 section 4.3.4: the sum of the maps of both halves."""
    return add(_map(uniform[:32]), _map(uniform[32:]))


GENERATOR = decode(
    bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")
) or Point(0, 0, 0, 0)


def sha512(data: bytes) -> bytes:
    """SHA-512."""
    return hashlib.sha512(data).digest()


def i2osp(value: int, length: int) -> bytes:
    """RFC 8017 section 4.1."""
    return value.to_bytes(length, "big")


def prefixed(data: bytes) -> bytes:
    """``I2OSP(len(data), 2) || data``."""
    return i2osp(len(data), 2) + data


def expand_message_xmd(message: bytes, dst: bytes) -> bytes:
    """RFC 9380 section 5.3.1 with SHA-512, 64 bytes."""
    dst_prime = dst + i2osp(len(dst), 1)
    b_0 = sha512(bytes(128) + message + i2osp(64, 2) + i2osp(0, 1) + dst_prime)
    return sha512(b_0 + i2osp(1, 1) + dst_prime)


def context(mode: int) -> bytes:
    """RFC 9497 section 3.1, ``CreateContextString``."""
    return b"OPRFV1-" + i2osp(mode, 1) + b"-ristretto255-SHA512"


def hash_to_group(message: bytes, dst: bytes) -> Point:
    """RFC 9497 section 4.1, with the whole domain tag given."""
    return one_way_map(expand_message_xmd(message, dst))


def hash_to_scalar(message: bytes, dst: bytes) -> int:
    """RFC 9497 section 4.1, with the whole domain tag given."""
    return int.from_bytes(expand_message_xmd(message, dst), "little") % ORDER


def derive_key(seed: bytes, info: bytes, *, mode: int) -> int:
    """RFC 9497 section 3.2.1, ``DeriveKeyPair``; the odds of a second try are 2^-252."""
    return hash_to_scalar(seed + prefixed(info) + i2osp(0, 1), b"DeriveKeyPair" + context(mode))


def blind(value: bytes, scalar: int, *, mode: int) -> bytes:
    """RFC 9497 section 3.3.1, ``Blind``."""
    return encode(multiply(scalar, hash_to_group(value, b"HashToGroup-" + context(mode))))


def blinded_element(value: bytes, scalar: int) -> bytes:
    """oprf.md, section 6: the hash of the value, with the blind added."""
    element = hash_to_group(value, b"HashToGroup-" + context(1))
    return encode(add(element, multiply(scalar, GENERATOR)))


def unblinded_output(value: bytes, scalar: int, evaluated: bytes, public_key: bytes) -> bytes:
    """oprf.md, section 8, step 6: the blind taken off again, and the last hash."""
    element, key = decode(evaluated), decode(public_key)
    assert element is not None
    assert key is not None
    unblinded = encode(add(element, multiply(ORDER - scalar, key)))
    return sha512(prefixed(value) + prefixed(unblinded) + b"Finalize")


def evaluate(value: bytes, key: int, *, mode: int) -> bytes:
    """RFC 9497 section 3.3.1, ``Evaluate``."""
    issued = blind(value, key, mode=mode)
    return sha512(prefixed(value) + prefixed(issued) + b"Finalize")


def frame_binding(blinded: list[bytes], evaluated: list[bytes]) -> bytes:
    """oprf.md, section 8, step 3: what the weights of a frame depend on beside the RFC's seed."""
    rows = i2osp(len(blinded), 4) + b"".join(blinded) + b"".join(evaluated)
    return prefixed(hashlib.sha256(b"psishare/proof/v1" + rows).digest())


def composites(
    public_key: bytes, blinded: list[bytes], evaluated: list[bytes]
) -> tuple[Point, Point]:
    """RFC 9497 section 2.2.1, ``ComputeComposites``, mode 1, with the frame's binding."""
    binding = frame_binding(blinded, evaluated)
    seed = sha512(prefixed(public_key) + prefixed(b"Seed-" + context(1)) + binding)
    m = z = IDENTITY
    for i, (c, d) in enumerate(zip(blinded, evaluated, strict=True)):
        weight = hash_to_scalar(
            prefixed(seed) + i2osp(i, 2) + prefixed(c) + prefixed(d) + b"Composite",
            b"HashToScalar-" + context(1),
        )
        c_point, d_point = decode(c), decode(d)
        assert c_point is not None
        assert d_point is not None
        m = add(m, multiply(weight, c_point))
        z = add(z, multiply(weight, d_point))
    return m, z


def challenge(public_key: bytes, elements: list[Point]) -> int:
    """The challenge of RFC 9497 section 2.2, over M, Z, t2 and t3."""
    return hash_to_scalar(
        prefixed(public_key) + b"".join(prefixed(encode(e)) for e in elements) + b"Challenge",
        b"HashToScalar-" + context(1),
    )


def prove(key: int, blinded: list[bytes], evaluated: list[bytes], nonce: int) -> bytes:
    """oprf.md, section 8, step 3: RFC 9497 section 2.2.1, ``GenerateProof``, of a whole frame."""
    public_key = encode(multiply(key, GENERATOR))
    m, z = composites(public_key, blinded, evaluated)
    c = challenge(public_key, [m, z, multiply(nonce, GENERATOR), multiply(nonce, m)])
    s = (nonce - c * key) % ORDER
    return c.to_bytes(32, "little") + s.to_bytes(32, "little")


def proof_holds(
    public_key: bytes, blinded: list[bytes], evaluated: list[bytes], proof: bytes
) -> bool:
    """oprf.md, section 8, step 5: RFC 9497 section 2.2.2, ``VerifyProof``, of a whole frame."""
    b = decode(public_key)
    assert b is not None
    c = int.from_bytes(proof[:32], "little")
    s = int.from_bytes(proof[32:], "little")
    m, z = composites(public_key, blinded, evaluated)
    t2 = add(multiply(s, GENERATOR), multiply(c, b))
    t3 = add(multiply(s, m), multiply(c, z))
    return challenge(public_key, [m, z, t2, t3]) == c


def _derive(seed: bytes, label: bytes, index: int | None = None) -> bytes:
    message = label + i2osp(0, 1) + (b"" if index is None else i2osp(index, 8))
    return hmac.digest(seed, message, "sha512")


def derived_blind(seed: bytes, index: int) -> int:
    """oprf.md, "Blinds"."""
    return int.from_bytes(_derive(seed, b"psishare/blind/v2", index), "little") % ORDER


def order(seed: bytes, n_rows: int) -> list[int]:
    """oprf.md, "Order"."""
    return sorted(range(n_rows), key=lambda i: (_derive(seed, b"psishare/order/v1", i)[:16], i))


def ecdh_scalar(seed: bytes) -> int:
    """ecdh.md, "Scalars"."""
    return int.from_bytes(_derive(seed, b"psishare/ecdh-scalar/v1"), "little") % ORDER


def ecdh_element(value: bytes, scalar: int) -> bytes:
    """ecdh.md, "Elements"."""
    dst = b"HashToGroup-psishare/ecdh/v1-ristretto255-SHA512"
    return encode(multiply(scalar, hash_to_group(value, dst)))


def commitment(seed: bytes, input_root: bytes) -> bytes:
    """exchange.md, section 5."""
    return hashlib.sha256(b"psishare/opening/v1" + seed + input_root).digest()


def merkle_root(values: list[bytes]) -> bytes:
    """RFC 6962 section 2.1."""
    if not values:
        return hashlib.sha256().digest()
    if len(values) == 1:
        return hashlib.sha256(b"\x00" + values[0]).digest()
    k = 1 << ((len(values) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + merkle_root(values[:k]) + merkle_root(values[k:])).digest()


def fingerprint(output: bytes, bits: int) -> bytes:
    """oprf.md, "Fingerprints"."""
    size = -(-bits // 8)
    spare = size * 8 - bits
    return (int.from_bytes(output[:size], "big") >> spare << spare).to_bytes(size, "big")
