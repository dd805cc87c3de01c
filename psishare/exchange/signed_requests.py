"""The authority's requests, each signed over the transcript after it (exchange.md, section 8, step 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.errors import AuthorisationError, InternalError
from psishare.exchange.frame import encode_frame
from psishare.exchange.retained import NOTHING_REQUESTED, Requested
from psishare.exchange.transcript import REQUEST, frame_statement
from psishare.keys.statement import sign_statement
from psishare.transport.wire_pb2 import EvaluateRequest

if TYPE_CHECKING:
    import pyarrow as pa

    from psishare.exchange.transcript import Transcript
    from psishare.keys.signer import Signer
    from psishare.mandates.sealed_request import SealedRequest


class SignedRequests:
    """Chains and signs request frames, in order.

    Args:
        transcript: of the exchange's requests, nothing in it yet.
        signer: the authority's Ed25519 signer.
        approved: the frames that the mandate approves; None where it does not name them.

    Attributes:
        last: how far the signed requests have come, for the log.
    """

    def __init__(
        self, transcript: Transcript, signer: Signer, approved: SealedRequest | None
    ) -> None:
        self._transcript = transcript
        self._signer = signer
        self._approved = approved
        self.last: Requested = NOTHING_REQUESTED

    def request(
        self, index: int, digest: bytes, elements: pa.FixedSizeBinaryArray
    ) -> EvaluateRequest:
        """Return the signed request of a frame.

        Args:
            index: the frame's number; frames come in order.
            digest: the frame's digest, 32 bytes.
            elements: the frame's elements.

        Raises:
            AuthorisationError: ``sealed_request_differs``.
        """
        transcript, signature = self.sign(index, digest, len(elements))
        return EvaluateRequest(
            exchange_id=self._transcript.exchange_id,
            index=index,
            transcript=transcript,
            signature=signature,
            batch=encode_frame(elements),
        )

    def sign(self, index: int, digest: bytes, n_rows: int) -> tuple[bytes, bytes]:
        """Add a frame to the transcript and sign it; return both.

        Raises:
            AuthorisationError: ``sealed_request_differs``.
        """
        self._require_approved(index, digest)
        chain = self._transcript
        if chain.frames != index:
            raise InternalError("request frames come out of order", mend="Report this fault.")
        transcript = chain.add(digest, n_rows)
        statement = frame_statement(chain.exchange_id, index, transcript, n_rows)
        signature = sign_statement(self._signer, REQUEST, statement)
        self.last = Requested(chain.frames, chain.rows, transcript, signature)
        return transcript, signature

    def _require_approved(self, index: int, digest: bytes) -> None:
        """Sign no request that the mandate does not approve, whatever has gone wrong here."""
        if self._approved is not None and not self._approved.approves(index, digest):
            raise AuthorisationError(
                f"frame {index} is not the one that the mandate approves",
                mend="Prepare the request again, and have a mandate made for it.",
                reason="sealed_request_differs",
            )
