"""A verdict's exchanges are printed alike however many there are, in the order in which they were logged."""

from __future__ import annotations

import json
import random
import sys
from contextlib import closing
from typing import Any

import pytest

from psishare.cli import exchange_list
from psishare.cli.console import print_json_list
from psishare.cli.exchange_list import ExchangeList
from psishare.evidence.verify import Ending, ExchangeVerdict


def exchange(place: int) -> ExchangeVerdict:
    refused = place % 3 == 0
    return ExchangeVerdict(
        exchange_id=f"{place:064x}",
        peer="police.example" if place % 2 else "a",
        ending=Ending.REFUSED if refused else Ending.CLOSED,
        protocol=None if refused else "ecdh",
        dataset=None if refused else "customers",
        kind="phone",
        output="matches",
        rows=None if refused else place * 1_000,
        mandate_id="A" * 16,
        reason="offer_malformed" if refused else None,
        time="2026-11-27T01:02:03Z",
        index=place,
        began="2026-11-27T01:02:03Z",
        mandate_sha256=None,
        mandate="not_seen" if refused else "covers",
    )


def said(capsys: pytest.CaptureFixture[str], n_exchanges: int) -> str:
    places = list(range(n_exchanges))
    random.Random(7).shuffle(places)
    with closing(ExchangeList()) as exchanges:
        for place in places:
            exchanges.add(exchange(place))
        exchanges.say()
        told = [document["exchange_id"] for document in exchanges.documents()]
    assert told == [exchange(place).exchange_id for place in range(n_exchanges)]
    return capsys.readouterr().out


@pytest.mark.parametrize("n_exchanges", [0, 1, 7, 1_100])
def test_a_long_table_reads_as_a_short_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, n_exchanges: int
) -> None:
    monkeypatch.setattr(exchange_list, "LONG", n_exchanges + 1)
    short = said(capsys, n_exchanges)
    monkeypatch.setattr(exchange_list, "LONG", 1)
    assert said(capsys, n_exchanges) == short
    assert len(short.splitlines()) == (n_exchanges + 2 if n_exchanges else 0)


@pytest.mark.parametrize("on_terminal", [True, False])
@pytest.mark.parametrize("items", [[], [{"a": 1}], [{"a": ["x\n]"], "b": {}}, {"a": None}, 3]])
def test_a_list_that_is_printed_as_it_comes_makes_the_same_object(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    items: list[Any],
    *,
    on_terminal: bool,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: on_terminal)
    document = {"verified": True, "of": ["[]"]}
    print_json_list(document, "exchanges", iter(items))
    whole = {**document, "exchanges": items}
    indent = 2 if on_terminal else None
    assert capsys.readouterr().out == json.dumps(whole, indent=indent) + "\n"
