from __future__ import annotations

from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import SERVICE, Call


def test_table_of_calls_is_the_service_of_the_specification() -> None:
    service = wire.DESCRIPTOR.services_by_name["Psishare"]
    assert service.full_name == SERVICE
    assert {call.rpc: (call.request.DESCRIPTOR, call.response.DESCRIPTOR) for call in Call} == {
        method.name: (method.input_type, method.output_type) for method in service.methods
    }


def test_every_call_has_its_own_step_and_path() -> None:
    assert len({call.step for call in Call}) == len(Call)
    assert Call.HELLO.path == "/psishare.v1.Psishare/Hello"
