"""``openmined``: the messages of the ``openmined-psi`` package in psishare's exchange.

A migration path for parties that already trust that library, and an oracle in tests: P-256, without
proofs, in memory, at most 2^22 rows a side (protocols/specs/openmined.md). The raw data structure
only: the compressed ones answer with false positives.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from psishare import _native
from psishare.errors import ConfigError, InputError, InternalError, ProtocolError
from psishare.psi.channel import EvaluatedFrame, FrameChannel, Window, frames, spans
from psishare.psi.ecdh import join, require_increasing
from psishare.psi.suite import Protocol, Sequence

if TYPE_CHECKING:
    from types import ModuleType

    from psishare._native import Seed

Progress = Callable[[int], None]

MAX_ROWS = 2**22
KEY_LABEL = b"psishare/openmined-key/v1"
POINT = pa.binary(Protocol.OPENMINED.element_bytes)


class OpenminedAuthority:
    """The authority's side of one ``openmined`` exchange.

    Args:
        seed: this exchange's secret seed; the P-256 key is derived from it.

    Raises:
        ConfigError: the package is not installed.
    """

    def __init__(self, *, seed: Seed) -> None:
        self._psi = _package()
        self._client = _from_key(self._psi.client, seed)

    def run(self, identifiers: pa.Array, channel: FrameChannel, progress: Progress) -> pa.Array:
        """Ask about every identifier and return those that the platform holds.

        Args:
            identifiers: canonical and distinct, ``binary`` or ``large_binary``, shape ``(n,)``.
            channel: an opened exchange.
            progress: called with the number of rows finished, frame by frame.

        Returns:
            ``uint64``: the indices into ``identifiers`` that matched, ascending.

        Raises:
            InputError: more than 2^22 rows.
            ProtocolError: an answer is malformed.
        """
        sent, rows = self._encrypted(identifiers)
        response = self._psi.Response()

        def answered(asked: tuple[int, int], answer: EvaluatedFrame) -> None:
            index, n_rows = asked
            if answer.elements is not None:
                response.encrypted_elements.extend(answer.elements.to_pylist())
                channel.finish(index, answer.elements)
            progress(n_rows)

        asking: Window[tuple[int, int], EvaluatedFrame] = Window(answered)
        for index, frame in enumerate(frames(sent, channel.frame_rows)):
            known = channel.finished(index)
            if known is not None:
                response.encrypted_elements.extend(known.to_pylist())
                progress(len(frame))
                continue
            asking.add((index, len(frame)), channel.evaluate(index, frame))
        asking.drain()
        setup = self._setup(_fetch_elements(channel))
        try:
            found = self._client.GetIntersection(setup, response)
        except RuntimeError as error:
            raise _malformed("answer") from error
        # What the package counts are positions in the order sent.
        matched = rows.take(pa.array(found, pa.uint64()))
        return matched.take(pc.sort_indices(matched))

    def requests(self, identifiers: pa.Array, frame_rows: int) -> Iterator[pa.FixedSizeBinaryArray]:
        """Yield the elements of each request frame, in order, exactly as ``run`` sends them."""
        return frames(self._encrypted(identifiers)[0], frame_rows)

    def _encrypted(self, identifiers: pa.Array) -> tuple[pa.FixedSizeBinaryArray, pa.UInt64Array]:
        """Return the elements in the order sent, and for each the index of its identifier."""
        require_size(len(identifiers))
        request = self._client.CreateRequest(identifiers.to_pylist())
        return _native.sort_elements(pa.array(list(request.encrypted_elements), POINT))

    def _setup(self, elements: pa.FixedSizeBinaryArray) -> Any:
        setup = self._psi.ServerSetup()
        setup.raw.encrypted_elements.extend(elements.to_pylist())
        return setup


class OpenminedPlatform:
    """The platform's side of one ``openmined`` exchange.

    Args:
        seed: this exchange's secret seed; the P-256 key is derived from it.
        identifiers: the platform's canonical, distinct identifiers.

    Raises:
        ConfigError: the package is not installed.
        InputError: more than 2^22 rows.
    """

    def __init__(self, *, seed: Seed, identifiers: pa.Array) -> None:
        self._psi = _package()
        require_size(len(identifiers))
        self._server = _from_key(self._psi.server, seed)
        self._identifiers = identifiers
        # The package keeps one scratch space a server, and two calls at once abort the process.
        self._one_at_a_time = threading.Lock()

    @cached_property
    def elements(self) -> pa.FixedSizeBinaryArray:
        """The platform's own elements, strictly increasing; computed on first use."""
        if len(self._identifiers) == 0:
            return pa.array([], POINT)
        raw = self._psi.DataStructure.RAW
        with self._one_at_a_time:
            setup = self._server.CreateSetupMessage(0.0, 1, self._identifiers.to_pylist(), raw)
        return pa.array(sorted(setup.raw.encrypted_elements), POINT)

    def evaluate(self, elements: pa.FixedSizeBinaryArray) -> EvaluatedFrame:
        """Encrypt a request frame a second time, in its order.

        Raises:
            ProtocolError: an element is not a point.
        """
        request = self._psi.Request()
        request.reveal_intersection = True
        request.encrypted_elements.extend(elements.to_pylist())
        try:
            with self._one_at_a_time:
                response = self._server.ProcessRequest(request)
        except RuntimeError as error:
            raise _malformed("element") from error
        return EvaluatedFrame(pa.array(list(response.encrypted_elements), POINT))


def require_size(n_rows: int) -> None:
    """Refuse a list that the package cannot hold in memory.

    Raises:
        InputError: more than 2^22 rows.
    """
    if n_rows > MAX_ROWS:
        raise InputError(
            f"openmined takes at most {MAX_ROWS:,} distinct rows, and this list has {n_rows:,}",
            mend="Use the protocol oprf or ecdh, which stream.",
            reason="over_max_query",
        )


def _fetch_elements(channel: FrameChannel) -> pa.FixedSizeBinaryArray:
    parts: list[pa.FixedSizeBinaryArray] = []
    window: Window[None, pa.FixedSizeBinaryArray] = Window(lambda _, frame: parts.append(frame))
    for index, _start, _rows in spans(channel.n_elements, channel.frame_rows):
        window.add(None, channel.fetch(Sequence.ELEMENTS, index))
    window.drain()
    elements = join(parts, POINT)
    require_increasing(elements, "element")
    return elements


def _from_key(side: Any, seed: Seed) -> Any:
    """Make the package's client or server with the key of one exchange (openmined.md, section 2)."""
    key = hmac.digest(seed.secret_bytes(), KEY_LABEL, hashlib.sha256)
    try:
        return side.CreateFromKey(key, True)  # noqa: FBT003
    except RuntimeError:
        raise InternalError(
            "this exchange's seed gives no key of P-256, which happens once in 2^32 times",
            mend="Start the exchange again.",
            reason="key_unusable",
        ) from None


def is_installed() -> bool:
    """Tell whether the package is there."""
    return importlib.util.find_spec("private_set_intersection") is not None


def _package() -> ModuleType:
    try:
        import private_set_intersection.python as package  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "the protocol openmined needs the package openmined-psi, which is not installed",
            mend="Install openmined-psi where it has a wheel, or use the protocol oprf or ecdh.",
            reason="openmined_missing",
        ) from error
    return package  # type: ignore[no-any-return]


def _malformed(what: str) -> ProtocolError:
    return ProtocolError(
        f"the peer sent an {what} that openmined-psi cannot read",
        mend="Use the same version of psishare and openmined-psi on both sides.",
        reason="element_invalid",
    )
