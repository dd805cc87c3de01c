"""Two exchanges on the same lists have nothing in common that a party could tell them by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from stage import AUTHORITY, KIND, NAME, PLATFORM, Stage

from psishare.exchange.frame import frame_schema
from psishare.psi import suite
from psishare.psi.suite import Output
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call
from psishare.transport.memory import MemoryChannel

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.transport.channel import Responder

CUSTOMERS = [b"+44770090%04d" % number for number in range(40)]
SUSPECTS = CUSTOMERS[:3] + [b"+4915112345%03d" % number for number in range(20)]


class Overheard(MemoryChannel):
    """A channel that keeps every element that the platform sends."""

    def __init__(self, stage: Stage, responder: Responder) -> None:
        super().__init__(responder, stage.caller(), PLATFORM)
        self.elements: set[bytes] = set()

    def exchange(self, call: Call, request: bytes) -> bytes:
        data = super().exchange(call, request)
        if call in {Call.EVALUATE, Call.FETCH}:
            frame = wire.FrameResponse.FromString(data)
            read = pa.ipc.read_record_batch(pa.py_buffer(frame.batch), frame_schema(32))
            self.elements.update(read.column(0).to_pylist())
        return data


def elements_of(path: Path) -> set[bytes]:
    data = path.read_bytes()
    return {data[start : start + 32] for start in range(0, len(data), 32)}


@pytest.mark.parametrize("protocol", [suite.Protocol.OPRF, suite.Protocol.ECDH])
def test_one_list_asked_twice_is_two_sets_of_elements(
    stage: Stage, protocol: suite.Protocol
) -> None:
    encoded = protocol is suite.Protocol.OPRF
    offering = stage.encode(CUSTOMERS) if encoded else stage.listing(CUSTOMERS)
    responder = stage.responder(offering)
    asked = []
    for _ in range(2):
        ask = stage.ask(
            SUSPECTS, protocol=protocol, output=Output.MATCHES, mandate=stage.envelope()
        )
        exchange = stage.exchange(responder, ask).receipt.receipt.exchange_id
        asked.append(elements_of(stage.homes[AUTHORITY].exchanges_path / exchange / "elements"))
    assert [len(elements) for elements in asked] == [len(SUSPECTS)] * 2
    assert asked[0].isdisjoint(asked[1])


def test_a_list_blinded_by_the_platform_in_two_exchanges_is_two_sets_of_elements(
    stage: Stage,
) -> None:
    responder = stage.responder(stage.listing(CUSTOMERS))
    shown = []
    for _ in range(2):
        channel = Overheard(stage, responder)
        ask = stage.ask(SUSPECTS, protocol=suite.Protocol.ECDH, mandate=stage.envelope())
        stage.asker(channel).exchange(ask)
        shown.append(channel.elements)
    assert [len(elements) for elements in shown] == [len(CUSTOMERS) + len(SUSPECTS)] * 2
    assert shown[0].isdisjoint(shown[1])


def test_an_encoded_set_says_nothing_without_its_key(stage: Stage) -> None:
    first, second = (stage.encode(CUSTOMERS).dataset for _ in range(2))
    assert first.manifest.public_key != second.manifest.public_key
    bodies = [
        (each.folder / place.shard.file_name).read_bytes()
        for each in (first, second)
        for place in each.manifest.places()
    ]
    assert len(bodies) == 2
    assert bodies[0] != bodies[1]
    # Whoever had one set and both keys' names could not even tell that the lists are one.
    assert (first.manifest.dataset, first.manifest.kind) == (NAME, KIND)
