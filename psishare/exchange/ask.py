"""What an authority is to ask, and the offer that it makes of that."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare import _native
from psishare.exchange.offer import Offer, Ruleset, operator_commitment
from psishare.exchange.opening import Opening
from psishare.psi import suite

if TYPE_CHECKING:
    import pyarrow as pa

    from psishare.exchange.synchronise import Synchronised
    from psishare.exchange.task import Task
    from psishare.psi.suite import Output


@dataclass(frozen=True)
class Ask:
    """What is to be asked.

    Attributes:
        identifiers: canonical and distinct, ``binary``, in first-occurrence order.
        kind: their kind.
        namespace: their namespace.
        ruleset: the canonical form they are in.
        dataset: the platform's name for the set.
        protocol: which protocol.
        output: what is to be learnt.
        mandate: the envelope's bytes.
        operator: who runs it; only a salted commitment leaves this party.
        frame_rows: rows of a frame.
        task: what to remember for going on after an interruption; kept sealed.
    """

    identifiers: pa.Array
    kind: str
    namespace: str
    ruleset: Ruleset
    dataset: str
    protocol: suite.Protocol
    output: Output
    mandate: bytes
    operator: str
    frame_rows: int = suite.MAX_FRAME_ROWS
    task: Task | None = None

    def offer(  # noqa: PLR0917  who asks whom, then what an offer has beside what is asked
        self,
        authority: str,
        platform: str,
        ends: tuple[bytes, bytes],
        encoded: Synchronised | None,
        seed: _native.Seed,
        time: str,
    ) -> tuple[Offer, Opening]:
        """Return the offer of this, and the opening that it commits to (exchange.md, section 5).

        Args:
            authority: the party id of who asks.
            platform: of who is asked.
            ends: what stands for either's end of the channel, 32 bytes each.
            encoded: the dataset's epoch, where one is synchronised.
            seed: what every blind comes from.
            time: now, as documents have it.
        """
        root = _native.merkle_root(self.identifiers)
        salt = secrets.token_bytes(32)
        offer = Offer(
            suite=self.protocol.suite,
            protocol=self.protocol.value,
            authority=authority,
            platform=platform,
            authority_certificate=ends[0].hex(),
            platform_certificate=ends[1].hex(),
            dataset=self.dataset,
            manifest_sha256=encoded.signed.sha256.hex() if encoded else None,
            kind=self.kind,
            namespace=self.namespace,
            ruleset=self.ruleset,
            rows=len(self.identifiers),
            output=self.output.value,
            frame_rows=self.frame_rows,
            mandate_sha256=hashlib.sha256(self.mandate).hexdigest(),
            opening_commitment=seed.commitment(root).hex(),
            operator_commitment=operator_commitment(self.operator, salt).hex(),
            nonce=secrets.token_hex(32),
            time=time,
        )
        opening = Opening(
            protocol=self.protocol.value,
            seed=seed.secret_bytes().hex(),
            input_root=root.hex(),
            rows=len(self.identifiers),
            operator=self.operator,
            operator_salt=salt.hex(),
        )
        return offer, opening
