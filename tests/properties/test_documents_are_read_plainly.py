"""What is read in one pass is what the long way reads, and nothing else is taken for canonical."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import fuzz_targets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psishare.audit import entry as entries
from psishare.audit.entry import Heartbeat, PeerAdded, parse_entry
from psishare.errors import VerificationError
from psishare.evidence.bundle import Header
from psishare.exchange.approval import Approval
from psishare.exchange.hold import Hold
from psishare.exchange.request_file import RequestHead
from psishare.exchange.task import Task
from psishare.keys import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.keys.canonical_model import CanonicalModel

DOCUMENTS: list[CanonicalModel] = [
    fuzz_targets.offer(),
    fuzz_targets.answer(),
    fuzz_targets.receipt(),
    fuzz_targets.opening(),
    Heartbeat(failed_handshakes=7),
    PeerAdded(peer="a", role="issuer", card_sha256="5a" * 32, trusted_as=("issuer", "validator")),
]
MODELS: set[type[CanonicalModel]] = {
    *entries._TYPES.values(),
    *map(type, DOCUMENTS),
    Approval,
    Header,
    Hold,
    RequestHead,
    Task,
}


def name_of(value: object) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


def integers(schema: object) -> Iterator[dict[str, Any]]:
    """Yield every part of a JSON schema that is of an integer."""
    if isinstance(schema, dict):
        if schema.get("type") == "integer" and "const" not in schema:
            yield schema
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from integers(part)


@pytest.mark.parametrize("model", sorted(MODELS, key=name_of), ids=name_of)
def test_every_integer_of_a_document_is_bounded_as_canonical_ones_are(
    model: type[CanonicalModel],
) -> None:
    for integer in integers(model.model_json_schema()):
        assert integer.get("maximum", canonical.MAX_INTEGER + 1) <= canonical.MAX_INTEGER
        assert "minimum" in integer


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_a_document_is_written_in_canonical_order_by_itself(document: CanonicalModel) -> None:
    data = document.canonical_bytes()
    assert document.model_dump_json().encode() == data
    assert data == canonical.dumps(json.loads(data))
    assert type(document).read_plain(data) == document


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_another_spelling_is_not_read_plainly(document: CanonicalModel) -> None:
    data = document.canonical_bytes()
    fields = json.loads(data)
    others = [
        json.dumps(fields, sort_keys=True).encode(),
        json.dumps(dict(reversed(fields.items())), separators=(",", ":")).encode(),
        data + b"\n",
        b"\xef\xbb\xbf" + data,
        data.replace(b'{"', b'{"a":0,"', 1),
        data[:-1] + b"," + data[1:],
        data.replace(b'"e', b'"\\u0065', 1),
    ]
    others += [data.replace(b":7", spelt) for spelt in (b":7.0", b":07", b":7e0", b":+7")]
    others += [data.replace(b'"version":1', b'"version":' + spelt) for spelt in (b"true", b"1.0")]
    for name in fields:
        rest = {key: value for key, value in fields.items() if key != name}
        others.append(canonical.dumps(rest))
    for other in others:
        assert other == data or type(document).read_plain(other) is None


@given(st.data())
def test_an_entry_is_read_plainly_exactly_if_the_long_way_reads_it(data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(DOCUMENTS[4:])).canonical_bytes()
    place = data.draw(st.integers(0, len(document)))
    cut = data.draw(st.integers(0, 3))
    put = data.draw(
        st.binary(max_size=2) | st.sampled_from([b" ", b"-0", b"\\n", b'"', b",", b"1"])
    )
    edited = document[:place] + put + document[place + cut :]
    try:
        slowly = entries._parse_any(edited)
    except VerificationError:
        with pytest.raises(VerificationError):
            parse_entry(edited)
    else:
        assert parse_entry(edited) == slowly
        assert slowly.encode() == edited
