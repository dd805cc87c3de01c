"""What goes into a table comes out of it: written, read, filtered, whatever the values hold."""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psishare.errors import InputError
from psishare.tables import Table, csv_source, open_table, write_matches

VALUE = st.text(
    st.one_of(
        st.sampled_from('",\n\r;\t 0+-='),
        st.characters(exclude_characters="\x00", exclude_categories=["Cs"]),
    ),
    max_size=6,
)
NAMES = st.lists(
    st.text(st.characters(exclude_characters="\x00\ufeff", exclude_categories=["Cs"]), min_size=1),
    min_size=1,
    max_size=4,
    unique=True,
)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    names = draw(NAMES)
    n_rows = draw(st.integers(0, 9))
    column = st.lists(VALUE, min_size=n_rows, max_size=n_rows)
    return pa.table({name: pa.array(draw(column), pa.string()) for name in names})


def read(path: Path, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches(open_table(path).batches(), schema)


@given(data=tables(), suffix=st.sampled_from(["csv", "parquet"]), mask=st.data())
@settings(max_examples=50, deadline=None)  # each makes a result durable
def test_matching_rows_are_read_back_as_they_were(
    data: pa.Table, suffix: str, mask: st.DataObject
) -> None:
    wanted = pa.array(
        mask.draw(st.lists(st.booleans(), min_size=len(data), max_size=len(data))), pa.bool_()
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"out.{suffix}"
        written = write_matches(Table.from_arrow(data), wanted, path)
        assert written == wanted.true_count
        assert read(path, data.schema) == data.filter(wanted)


@given(data=tables(), block_bytes=st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_csv_of_another_writer_is_read_wherever_blocks_end(
    data: pa.Table, block_bytes: int
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(data.schema.names)
    writer.writerows(zip(*(column.to_pylist() for column in data.columns), strict=True))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "in.csv"
        path.write_text(text.getvalue(), encoding="utf-8", newline="")
        table = open_table(path)
        patch.setattr(csv_source, "BLOCK_BYTES", block_bytes)
        assert pa.Table.from_batches(table.batches(), data.schema) == data


@given(content=st.binary(max_size=60) | st.text('a,"\n\r;', max_size=40).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_table_or_our_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("csv", "parquet"):
            path = Path(folder) / f"in.{suffix}"
            path.write_bytes(content)
            with contextlib.suppress(InputError):
                table = open_table(path)
                n_columns = len(table.schema_names)
                assert all(batch.num_columns == n_columns for batch in table.batches())
