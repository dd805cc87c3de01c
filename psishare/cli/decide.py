"""What ``approve`` and ``reject`` have in common: showing a held offer, and deciding on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import typer

import psishare
from psishare.cli.console import moment, number, print_json, say, say_fields
from psishare.cli.passphrase import Asked
from psishare.parties import home as parties

if TYPE_CHECKING:
    from pathlib import Path


def decide(
    home: Path,
    ticket: str,
    operator: Path | None,
    verdict: Literal["approved", "rejected"],
    *,
    operator_passphrase_file: Path | None = None,
    show: bool,
    as_json: bool,
) -> None:
    """Show a held offer, or decide on it with an operator's own key.

    Args:
        home: the platform's.
        ticket: the exchange's id, or how it begins.
        operator: the operator's own home.
        verdict: what the operator decides.
        operator_passphrase_file: holds the passphrase of the operator's home; where None, it comes from
            where the platform's does.
        show: whether to show the offer only.
        as_json: whether to print JSON.
    """
    if operator is None and not show:
        raise typer.BadParameter("say with --operator whose key signs it, or --show to look only")
    with psishare.Party.open(home) as party:
        if operator is None or show:
            offer, told = psishare.held_offer(party, ticket), "held"
        else:
            file = operator_passphrase_file
            own = parties.Home.open(operator, passphrase=None if file is None else Asked(file))
            offer, told = psishare.decide_on_offer(party, ticket, own, verdict=verdict), verdict
    if as_json:
        print_json(_document(offer) | {"state": told})
        return
    say_fields(_fields(offer))
    say()
    say(f"The offer is {told}.")


def _document(offer: psishare.HeldOffer) -> dict[str, Any]:
    mandate = offer.mandate
    return {
        "ticket": offer.ticket,
        "authority": offer.authority,
        "dataset": offer.dataset,
        "kind": offer.kind,
        "rows": offer.rows,
        "protocol": offer.protocol,
        "output": offer.output,
        "reason": offer.reason,
        "expires": offer.expires,
        "mandate_id": None if mandate is None else mandate.id,
    }


def _fields(offer: psishare.HeldOffer) -> dict[str, str | None]:
    mandate = offer.mandate
    return {
        "ticket": offer.ticket,
        "asked by": offer.authority,
        "about": f"{number(offer.rows)} identifiers of kind {offer.kind}, {offer.dataset}",
        "to learn": f"{offer.output}, by {offer.protocol}",
        "held for": offer.reason,
        "until": f"{moment(offer.expires)} UTC",
        "mandate": None if mandate is None else mandate.id,
        "issued by": None if mandate is None else mandate.issuer,
        "validated by": None
        if mandate is None
        else f"{mandate.validator} ({mandate.validator_role})",
        "legal basis": None if mandate is None else mandate.legal_basis,
        "purpose": None if mandate is None else mandate.purpose,
    }
