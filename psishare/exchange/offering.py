"""What a platform serves: encoded sets for ``oprf``, plain lists for ``ecdh`` and ``openmined``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from psishare import _native
from psishare.exchange.offer import Ruleset
from psishare.psi import suite
from psishare.psi.ecdh import EcdhPlatform
from psishare.psi.openmined import MAX_ROWS, OpenminedPlatform, is_installed
from psishare.psi.oprf import OprfPlatform

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

    from psishare.datasets.dataset import Dataset
    from psishare.psi.channel import EvaluatedFrame
    from psishare.psi.suite import Output


class Driver(Protocol):
    """The platform's computation in one exchange."""

    @property
    def elements(self) -> pa.FixedSizeBinaryArray:
        """The platform's own elements; computed on first use, which may take long."""

    def evaluate(self, elements: pa.FixedSizeBinaryArray) -> EvaluatedFrame:
        """Answer one request frame."""


class Offering(Protocol):
    """A named set that the platform serves with one or more protocols."""

    @property
    def name(self) -> str:
        """The name that offers and mandates use."""

    @property
    def kind(self) -> str:
        """The identifiers' kind."""

    @property
    def namespace(self) -> str:
        """Their namespace."""

    @property
    def ruleset(self) -> Ruleset:
        """The canonical form that they are in."""

    @property
    def protocols(self) -> frozenset[suite.Protocol]:
        """The protocols that it is served with."""

    @property
    def epoch(self) -> int | None:
        """The epoch, for an encoded set."""

    @property
    def epoch_began(self) -> datetime | None:
        """When the epoch began, for an encoded set; with a time zone."""

    @property
    def manifest_sha256(self) -> str | None:
        """The manifest's digest, for an encoded set."""

    @property
    def is_revoked(self) -> bool:
        """Whether the platform has revoked it, since it was opened too."""

    @property
    def n_items(self) -> int:
        """How many distinct identifiers it holds."""

    @property
    def n_elements(self) -> int:
        """How many elements of its own an exchange sends; 0 for an encoded set."""

    @property
    def max_query(self) -> int:
        """The most distinct rows that one exchange may ask."""

    @property
    def input_root(self) -> bytes | None:
        """The Merkle root of the list; None for an encoded set."""

    def driver(self, protocol: suite.Protocol, output: Output, seed: _native.Seed) -> Driver:
        """Start the computation of one exchange."""


class EncodedOffering:
    """An encoded set, served with ``oprf``.

    Args:
        dataset: one epoch of a dataset; its key is read here.

    Raises:
        ConfigError: it is revoked, or its key is destroyed or cannot be read.
    """

    protocols = frozenset({suite.Protocol.OPRF})
    n_elements = 0
    input_root: bytes | None = None

    def __init__(self, dataset: Dataset) -> None:
        dataset.require_in_use()
        self.dataset = dataset
        manifest = dataset.manifest
        self.name = manifest.dataset
        self.kind = manifest.kind
        self.namespace = manifest.namespace
        self.ruleset = Ruleset(version=manifest.ruleset.version, digest=manifest.ruleset.digest)
        self.epoch: int | None = manifest.epoch
        self.epoch_began: datetime | None = dataset.began
        self.manifest_sha256: str | None = dataset.signed.sha256.hex()
        self.n_items = manifest.items
        self.max_query = manifest.max_query
        self._platform = OprfPlatform(dataset.key())

    @property
    def is_revoked(self) -> bool:
        """Whether the platform has revoked the epoch; looked up anew each time."""
        return self.dataset.is_revoked

    def driver(self, protocol: suite.Protocol, output: Output, seed: _native.Seed) -> Driver:  # noqa: ARG002  one key serves every exchange of the epoch
        """Return the evaluator; one key serves every exchange of the epoch."""
        return self._platform


@dataclass(frozen=True)
class ListOffering:
    """A list in memory, served with ``ecdh`` and ``openmined``.

    Attributes:
        name: the name that offers and mandates use.
        kind: the identifiers' kind.
        namespace: their namespace.
        ruleset: the canonical form that they are in.
        identifiers: canonical and distinct, ``binary``, shape ``(m,)``.
        input_root: their Merkle root, in that order.
    """

    name: str
    kind: str
    namespace: str
    ruleset: Ruleset
    identifiers: pa.Array
    input_root: bytes | None
    epoch: int | None = None
    epoch_began: datetime | None = None
    manifest_sha256: str | None = None
    max_query: int = suite.DEFAULT_MAX_QUERY * 64
    is_revoked: bool = False

    @classmethod
    def of(
        cls,
        identifiers: pa.Array,
        *,
        name: str,
        kind: str,
        namespace: str,
        ruleset: Ruleset,
        **own: Any,
    ) -> Self:
        """Prepare a list of canonical, distinct identifiers for serving.

        Args:
            identifiers: canonical and distinct, ``binary``, shape ``(m,)``.
            name: the name that offers and mandates use.
            kind: the identifiers' kind.
            namespace: their namespace.
            ruleset: the canonical form that they are in.
            own: what a subclass holds besides.
        """
        root = _native.merkle_root(identifiers)
        return cls(name, kind, namespace, ruleset, identifiers, root, **own)

    @property
    def protocols(self) -> frozenset[suite.Protocol]:
        """``ecdh``, and ``openmined`` where it is installed and the list small enough for it."""
        fit = len(self.identifiers) <= MAX_ROWS and is_installed()
        return frozenset(
            {suite.Protocol.ECDH, suite.Protocol.OPENMINED} if fit else {suite.Protocol.ECDH}
        )

    @property
    def n_items(self) -> int:
        """The list's length."""
        return len(self.identifiers)

    @property
    def n_elements(self) -> int:
        """The list's length."""
        return self.n_items

    def driver(self, protocol: suite.Protocol, output: Output, seed: _native.Seed) -> Driver:  # noqa: ARG002  the platform computes the same for every output
        """Start one exchange's computation, with a scalar or key that lives as long as it."""
        if protocol is suite.Protocol.OPENMINED:
            return OpenminedPlatform(seed=seed, identifiers=self.identifiers)
        return EcdhPlatform(scalar=seed.scalar(), identifiers=self.identifiers)
