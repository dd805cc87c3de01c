"""Two lists of each kind, spelled, stored and repeated differently: exactly the right rows match."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stage import NAME, Stage

from psishare.exchange.offering import ListOffering
from psishare.exchange.prepared_list import KeyColumn, PreparedList, prepare
from psishare.identifiers import KINDS
from psishare.identifiers.ruleset import vectors
from psishare.psi import suite
from psishare.tables import open_table, write_matches

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.tables import Table


def prepared(table: Table, kind: str) -> PreparedList:
    return prepare(table, KeyColumn(kind, "value"), lambda _rows: None)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("stored", ["parquet", "jsonl"])
def test_differently_spelled_lists_match_in_exactly_the_right_rows(
    stage: Stage, tmp_path: Path, kind: str, stored: str
) -> None:
    cases = [case for case in vectors(kind) if case.region is None]
    held = sorted({case.canonical for case in cases if case.canonical})[::2]
    theirs = tmp_path / "theirs.parquet"
    pq.write_table(pa.table({"value": held * 2}), theirs)
    asked = [*cases, *reversed(cases)]
    rows = [{"case": str(place), "value": case.input} for place, case in enumerate(asked)]
    ours = tmp_path / f"ours.{stored}"
    if stored == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), ours)
    else:
        ours.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = open_table(ours)

    platform_list, authority_list = prepared(open_table(theirs), kind), prepared(table, kind)
    ruleset = KeyColumn(kind, "value").ruleset
    offering = ListOffering.of(
        platform_list.distinct, name=NAME, kind=kind, namespace="", ruleset=ruleset
    )
    ask = stage.ask(
        authority_list.distinct.to_pylist(),
        kind=kind,
        ruleset=ruleset,
        mandate=stage.envelope(kinds=[kind]),
        protocol=suite.Protocol.ECDH,
    )
    outcome = stage.exchange(stage.responder(offering), ask)

    out = tmp_path / "matches.csv"
    write_matches(table, authority_list.mask(outcome.matched), out)
    found = [row["case"] for batch in open_table(out).batches() for row in batch.to_pylist()]
    assert found == [str(p) for p, case in enumerate(asked) if case.canonical in set(held)]
    assert authority_list.n_rejected == sum(case.canonical is None for case in asked)
