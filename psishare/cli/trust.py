"""The cards that whoever verifies trusts: the one source of keys."""

from pathlib import Path
from typing import Annotated

import typer

from psishare.errors import ConfigError
from psishare.parties.card import Card, parse_card

Trust = Annotated[
    list[Path],
    typer.Option(
        metavar="CARD",
        help="A card file that you trust: the log's owner and its peers. Once for each.",
    ),
]


def read_cards(files: list[Path]) -> dict[str, Card]:
    """Return the cards in some files, by party id.

    Raises:
        ConfigError: a file cannot be read or is no card; two cards of one party differ.
    """
    cards: dict[str, Card] = {}
    for file in files:
        try:
            card = parse_card(file.read_bytes())
        except OSError as error:
            raise ConfigError(
                f"the card {file} cannot be read: {error.strerror}",
                mend="Name card files, as `psishare party export` wrote them, with --trust.",
                reason="card_missing",
            ) from error
        if cards.setdefault(card.id, card) != card:
            raise ConfigError(
                f"two different cards of {card.id} are given",
                mend="Give the one whose fingerprint you have compared.",
                reason="card_changed",
                party=card.id,
            )
    return cards
