"""Lists prepared for a mandate: by the authority that will ask, checked by whoever signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psishare.errors import InputError
from psishare.exchange.prepared_list import KeyColumn, prepare
from psishare.exchange.prepared_request import Subject, check_request, prepare_request
from psishare.exchange.request_file import OpenedRequest, RequestHead, open_request, read_request
from psishare.mandates.envelope import read_envelope, sign_envelope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psishare.exchange.progress import Progress
    from psishare.mandates.mandate import Mandate
    from psishare.parties.card import Card
    from psishare.parties.home import Home


from psishare.client.input_table import input_table
from psishare.client.opened_home import require_role
from psishare.exchange.progress import advanced, quiet, rows_read


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A list that is ready for a mandate.

    Attributes:
        head: what everyone may know of it.
        data: the request's file, which goes to the validator and to whoever drafts the mandate.
        rejected: rows without an identifier of the kind, by reason code.
    """

    head: RequestHead
    data: bytes
    rejected: dict[str, int]


@dataclass(frozen=True, slots=True)
class SignedMandate:
    """A mandate that this party has signed.

    Attributes:
        envelope: its file's bytes, with the signature.
        checked: the request that was computed again before signing; None where none was given.
    """

    envelope: bytes
    checked: OpenedRequest | None

    def values(self) -> list[bytes]:
        """Return the values of the list that the mandate approves, for the signer's eyes.

        In their canonical form, without kind and namespace; none where no request was given.
        """
        return [] if self.checked is None else self.checked.values()


def request_mandate(
    home: Home,
    data: Any,
    *,
    key: KeyColumn | str,
    platform: str,
    dataset: str,
    readers: Iterable[Card],
    sealed: bool = True,
    progress: Progress | None = None,
) -> PreparedRequest:
    """Prepare a list for a mandate: blind it in advance, or commit to it.

    Its secret is kept in this home, sealed to it; ``match`` under the mandate finds it there.

    Args:
        home: the authority's.
        data: a ``Table``, the path of a file, or anything with the Arrow PyCapsule interface.
        key: ``KIND=COLUMN``, or a ``KeyColumn``.
        platform: party id of who is to be asked.
        dataset: the platform's name for its set.
        readers: the cards of the validator and of whoever else may open the list.
        sealed: whether the platform is to be able to check every element; otherwise the list is only
            committed to, which this home's software and a replay check.
        progress: called as steps advance.

    Returns:
        The request's file, what everyone may know of it, and the rows that were rejected.

    Raises:
        InputError: the list cannot be read, is empty, or is too long for a mandate.
        ConfigError: this is no authority's home, or the secret cannot be kept.
    """
    require_role(home, "authority")
    report = progress or quiet
    column = KeyColumn.parse(key) if isinstance(key, str) else key
    prepared = prepare(input_table(data), column, rows_read(report))
    subject = Subject(
        platform=platform,
        dataset=dataset,
        kind=column.kind,
        namespace=column.namespace,
        ruleset=column.ruleset,
    )
    file = prepare_request(
        home,
        subject,
        prepared.distinct,
        readers,
        sealed=sealed,
        progress=advanced(report, "blinding", len(prepared.distinct)),
    )
    return PreparedRequest(read_request(file), file, prepared.rejected)


def sign_mandate(
    home: Home, envelope: bytes, *, request: bytes | None = None, progress: Progress | None = None
) -> SignedMandate:
    """Add this party's signature to a mandate, as its issuer or its validator.

    Where a request is given, every element that the mandate approves is computed again from seed and
    list first. A validator must give it where the mandate approves a list.

    Args:
        home: the issuer's or the validator's.
        envelope: the mandate's file.
        request: the request's file, sealed to this party among others.
        progress: called as elements are computed.

    Returns:
        The mandate with the signature added, and the request that was checked, if one was given.

    Raises:
        InputError: ``request_unseen``, a list is to be validated that was not given;
            ``request_malformed``.
        VerificationError: ``request_differs``, the mandate approves something else.
        AuthorisationError: the mandate is malformed, or does not name this party.
    """
    mandate = read_envelope(envelope).mandate
    checked = None
    if request is not None:
        checked = open_request(request, home.id, home.sealing_key())
        total = len(checked.identifiers)
        check_request(mandate, checked, advanced(progress or quiet, "checking", total))
    elif home.id == mandate.validator and _approves_a_list(mandate):
        raise InputError(
            "the mandate approves one list, which has not been shown to its validator",
            mend="Give the request that it was drafted from, with --request.",
            reason="request_unseen",
        )
    signed = sign_envelope(envelope, home.log_signer(), party=home.id)
    return SignedMandate(signed, checked)


def fields_of_request(request: bytes, fields: dict[str, Any]) -> dict[str, Any]:
    """Return a draft's keywords with those that a request fixes.

    Args:
        request: the request's file.
        fields: the keywords of ``psishare.mandates.draft.draft``; None stands for what is not given.

    Raises:
        InputError: ``request_malformed``; ``mandate_invalid``, a keyword says otherwise.
    """
    head = read_request(request)
    fixed: dict[str, Any] = {
        "authority": head.authority,
        "platform": head.platform,
        "kinds": [head.kind],
        "datasets": [head.dataset],
        "input_commitment": head.input_commitment,
        "sealed_request": head.sealed_request,
    }
    if head.sealed_request is not None:
        fixed |= {"protocols": ["oprf"], "outputs": ["matches"]}
        fixed["max_rows_per_exchange"] = head.rows
    given = {name: value for name, value in fields.items() if value is not None}
    if head.sealed_request is None:
        given = {"max_rows_per_exchange": head.rows, "outputs": ["matches"]} | given
    wrong = sorted(name for name in fixed.keys() & given.keys() if fixed[name] != given[name])
    if wrong:
        raise InputError(
            f"the request was prepared for another mandate: {', '.join(wrong)}",
            mend="Leave out what the request says already, or prepare another request.",
            reason="mandate_invalid",
        )
    return given | fixed


def _approves_a_list(mandate: Mandate) -> bool:
    return mandate.sealed_request is not None or mandate.input_commitment is not None
