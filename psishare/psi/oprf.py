"""``oprf``: the asymmetric protocol (RFC 9497 VOPRF; protocols/specs/oprf.md).

The authority learns, for each of its values, whether the platform's encoded set holds it, and the
set's size; the platform learns how many distinct values were asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from psishare.psi.channel import EvaluatedFrame, FrameChannel, Window, run_beside_each_other, spans

if TYPE_CHECKING:
    from concurrent.futures import Future

    from psishare._native import OprfKey, Seed

Lookup = Callable[[pa.FixedSizeBinaryArray], pa.BooleanArray]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BlindedFrame:
    """One frame: which values, and what is sent for them.

    Attributes:
        indices: ``uint64``, into the distinct values.
        identifiers: the values, in the order sent.
        blinded: ``fixed_size_binary[32]``: their blinded elements, in the same order.
    """

    indices: pa.UInt64Array
    identifiers: pa.Array
    blinded: pa.FixedSizeBinaryArray


class OprfAuthority:
    """The authority's side of one ``oprf`` exchange.

    Args:
        seed: this exchange's secret seed, used for no other.
        public_key: the 32-byte public key in the dataset's manifest.
        bits: the manifest's ``fingerprint_bits``.
        lookup: tells for each fingerprint whether the synchronised set holds it.
    """

    def __init__(self, *, seed: Seed, public_key: bytes, bits: int, lookup: Lookup) -> None:
        self._seed = seed
        self._public_key = public_key
        self._bits = bits
        self._lookup = lookup

    def run(self, identifiers: pa.Array, channel: FrameChannel, progress: Progress) -> pa.Array:
        """Ask about every identifier and return those that the platform holds.

        Args:
            identifiers: canonical and distinct, ``binary`` or ``large_binary``, shape ``(n,)``.
            channel: an opened exchange.
            progress: called with the number of rows finished, frame by frame.

        Returns:
            ``uint64``: the indices into ``identifiers`` that matched, ascending.

        Raises:
            ProtocolError: an answer or its proof is wrong.
        """
        matched: list[pa.Array] = []

        def finish(asked: tuple[int, BlindedFrame], answer: EvaluatedFrame) -> None:
            index, frame = asked
            fingerprints = self._seed.finalize(
                frame.identifiers,
                frame.indices,
                frame.blinded,
                answer.elements,
                proof=answer.proof,
                public_key=self._public_key,
                bits=self._bits,
            )
            found = self._lookup(fingerprints)
            matched.append(frame.indices.filter(found))
            channel.finish(index, found.cast(pa.uint8()))
            progress(len(frame.indices))

        window: Window[tuple[int, BlindedFrame], EvaluatedFrame] = Window(finish)
        run_beside_each_other((window, self._asking(identifiers, channel, matched, progress)))
        return ascending(matched)

    def requests(self, identifiers: pa.Array, frame_rows: int) -> Iterator[pa.FixedSizeBinaryArray]:
        """Yield the elements of each request frame, in order, exactly as ``run`` sends them."""
        frames = blinded_frames(self._seed, identifiers, frame_rows)
        return (frame.blinded for frame in frames)

    def _asking(
        self,
        identifiers: pa.Array,
        channel: FrameChannel,
        matched: list[pa.Array],
        progress: Progress,
    ) -> Iterator[tuple[tuple[int, BlindedFrame], Future[EvaluatedFrame]]]:
        """Blind and send a frame each time one is taken, but for those that are finished."""
        order = self._seed.order(len(identifiers))
        for index, start, rows in spans(len(identifiers), channel.frame_rows):
            indices = order.slice(start, rows)
            known = channel.finished(index)
            if known is None:
                frame = blinded_frame(self._seed, identifiers, indices)
                yield (index, frame), channel.evaluate(index, frame.blinded)
            else:
                matched.append(indices.filter(known.cast(pa.bool_())))
                progress(rows)


def blinded_frames(seed: Seed, identifiers: pa.Array, frame_rows: int) -> Iterator[BlindedFrame]:
    """Yield the request frames of a list, one at a time: the same for the same seed and list.

    Args:
        seed: one exchange's, or one sealed request's.
        identifiers: canonical and distinct, ``binary`` or ``large_binary``, shape ``(n,)``.
        frame_rows: rows of every frame but the last.
    """
    order = seed.order(len(identifiers))
    for _index, start, rows in spans(len(identifiers), frame_rows):
        yield blinded_frame(seed, identifiers, order.slice(start, rows))


def blinded_frame(seed: Seed, identifiers: pa.Array, indices: pa.UInt64Array) -> BlindedFrame:
    """Return the request frame of some of the values of a list."""
    values = identifiers.take(indices)
    return BlindedFrame(indices, values, seed.blind(values, indices))


class OprfPlatform:
    """The platform's side: one key, any number of exchanges.

    Args:
        key: the dataset's secret key of the current epoch.
    """

    def __init__(self, key: OprfKey) -> None:
        self._key = key

    @property
    def elements(self) -> pa.FixedSizeBinaryArray:
        """None: an encoded set was handed over before."""
        return pa.array([], pa.binary(32))

    def evaluate(self, elements: pa.FixedSizeBinaryArray) -> EvaluatedFrame:
        """Evaluate and prove one request frame.

        Raises:
            ProtocolError: an element is the identity or not canonical.
        """
        evaluated, proof = self._key.blind_evaluate(elements)
        return EvaluatedFrame(evaluated, proof)


def ascending(parts: list[pa.Array]) -> pa.Array:
    """Join index arrays and sort them; ``uint64``, empty where there are none."""
    if not parts:
        return pa.array([], pa.uint64())
    joined = pa.concat_arrays(parts)
    return joined.take(pc.sort_indices(joined))
