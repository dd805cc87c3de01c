"""What a match would ask, who would learn what of it, and what the mandate allows; nobody is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psishare.client.input_table import input_table
from psishare.client.opened_home import require_role
from psishare.client.session import terms_chosen
from psishare.errors import AuthorisationError, InputError
from psishare.exchange.document import now
from psishare.exchange.list_quality import ListQuality, list_quality
from psishare.exchange.prepared_list import KeyColumn, prepare
from psishare.exchange.prepared_request import NOT_APPROVED, approved_input
from psishare.exchange.progress import quiet, rows_read
from psishare.mandates.check import Request, mandate_rules
from psishare.mandates.envelope import TrustedKeys, read_envelope, verify_envelope
from psishare.mandates.rule import Rule
from psishare.parties.peers import Peers

if TYPE_CHECKING:
    from psishare.exchange.progress import Progress
    from psishare.mandates.mandate import Mandate
    from psishare.parties.home import Home
    from psishare.tables import Table

_AUTHORITY = {
    "matches": "which of these identifiers the platform has, and how many it has in all",
    "count": "how many of these identifiers the platform has, and how many it has in all",
    "both": "which of these identifiers the platform has, and how many it has in all",
}
_STANDING = (
    "; what was asked once can be looked up again in every state of the dataset that is delivered"
)
_PLATFORM = (
    "who asks, when, under which mandate; kind, dataset, output; that {rows} are asked about"
)
_NOT_ONE = "; not one identifier of the list, nor whether any matched"
_BOTH = "; and which of its own identifiers matched"


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a match would be.

    Attributes:
        quality: the list's key column in figures.
        authority_learns: what this side would learn, in words.
        platform_learns: what the platform would, in words.
        rules: the rules of the mandate, in order, each with whether it passes. The platform has rules
            of its own besides.
        verified: whether issuer and validator are trusted here and have signed; None where this home
            has not pinned both as such, so that only the platform can tell.
        mandate: the mandate.
        list_approved: whether this is the list that the mandate approves; None where it approves none.
    """

    quality: ListQuality
    authority_learns: str
    platform_learns: str
    rules: tuple[Rule, ...]
    verified: bool | None
    mandate: Mandate
    list_approved: bool | None

    @property
    def allowed(self) -> bool:
        """Whether the mandate allows it, as far as this side can tell."""
        return self.list_approved is not False and all(rule.passes for rule in self.rules)


def dry_run(
    home: Home,
    data: Any,
    *,
    key: KeyColumn | str,
    platform: str,
    dataset: str,
    mandate: bytes,
    protocol: str = "oprf",
    output: str = "matches",
    progress: Progress | None = None,
) -> DryRun:
    """Tell what a match would ask and disclose; no connection is made, nothing is logged or spent.

    Args:
        home: of the authority.
        data: the list, as of ``Session.match``.
        key: ``KIND=COLUMN``, or a ``KeyColumn``.
        platform: the party that would be asked.
        dataset: its name for its set.
        mandate: the envelope's bytes.
        protocol: ``oprf``, ``ecdh`` or ``openmined``.
        output: ``matches``, ``count`` or ``both``.
        progress: called as rows are read.

    Returns:
        Figures, who would learn what, and the mandate's rules.

    Raises:
        InputError: the list cannot be read, or the protocol cannot give the output.
        AuthorisationError: the mandate cannot be read.
        ConfigError: the home is no authority's, or has not prepared the list that the mandate approves.
    """
    require_role(home, "authority")
    terms_chosen(protocol, output)
    column = KeyColumn.parse(key) if isinstance(key, str) else key
    read = read_envelope(mandate).mandate
    table = input_table(data)
    quality = list_quality(table, column, rows_read(progress or quiet))
    sealed = read.sealed_request
    request = Request(
        authority=home.id,
        platform=platform,
        protocol=protocol,
        dataset=dataset,
        kind=column.kind,
        output=output,
        rows=quality.distinct,
        namespace=column.namespace,
        ruleset_sha256=column.ruleset.digest,
        frame_rows=None if sealed is None else sealed.frame_rows,
    )
    signed = _signed(home, mandate, read)
    rules = tuple(mandate_rules(read, request, now=now()))
    asked = f"{quality.distinct:,} distinct identifiers"
    return DryRun(
        quality=quality,
        authority_learns=_AUTHORITY[output] + (_STANDING if protocol == "oprf" else ""),
        platform_learns=_PLATFORM.format(rows=asked) + (_BOTH if output == "both" else _NOT_ONE),
        rules=rules if signed is None else (signed, *rules),
        verified=None if signed is None else signed.passes,
        mandate=read,
        list_approved=_list_approved(home, read, table, column),
    )


def _list_approved(home: Home, mandate: Mandate, table: Table, column: KeyColumn) -> bool | None:
    """Tell whether a list is the one that a mandate approves; None where it approves none."""
    if mandate.sealed_request is None and mandate.input_commitment is None:
        return None
    identifiers = prepare(table, column, rows_read(quiet)).distinct
    try:
        approved_input(home, mandate, identifiers)
    except InputError as error:
        if error.reason != NOT_APPROVED:
            raise
        return False
    return True


def _signed(home: Home, envelope: bytes, mandate: Mandate) -> Rule | None:
    """Tell as a rule whether the mandate is signed, where this home trusts who should have signed."""
    peers = Peers(home.peers_path)
    issuers, validators = peers.trusted("issuer"), peers.trusted("validator")
    if mandate.issuer not in issuers or mandate.validator not in validators:
        return None
    try:
        verify_envelope(envelope, TrustedKeys(issuers, validators), allow_unvalidated=True)
    except AuthorisationError as error:
        return Rule(False, error.reason, error.message)  # noqa: FBT003  a tuple's field
    return Rule(True, "mandate_unsigned", "")  # noqa: FBT003  a tuple's field
