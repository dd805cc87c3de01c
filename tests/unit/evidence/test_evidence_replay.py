"""Replay: the honest list passes; any other fails, and its first row is named."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import pytest
from evidence_stage import SUSPECTS, exported, past, trust
from stage import AUTHORITY, PLATFORM, CopiedStage, Stage, column

from psishare.errors import InputError, PsishareError
from psishare.evidence.replay import Replay, ReplayFault, SignedRequests, replay, signed_requests
from psishare.exchange.offer import WIRE_VERSION
from psishare.exchange.opening import Opening, unseal_opening
from psishare.psi import suite
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def lived(
    homes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stage, dict[str, Any]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        stage = CopiedStage(homes, tmp_path_factory.mktemp("replayed"))
        told = past(stage)
    yield stage, told
    stage.close()


def kept(stage: Stage, exchange_id: str) -> tuple[Opening, bytes]:
    home = stage.homes[AUTHORITY]
    folder = home.exchanges_path / exchange_id
    sealed = (folder / "opening.sealed").read_bytes()
    opening = unseal_opening(sealed, bytes.fromhex(exchange_id), home.sealing_key())
    return opening, (folder / "elements").read_bytes()


def run(stage: Stage, exchange_id: str, values: list[bytes], *, named: bool = True) -> Replay:
    signed = signed_requests(stage.homes[PLATFORM].log_path, trust(stage), exchange_id)
    opening, elements = kept(stage, exchange_id)
    return replay(signed, opening, column(values), elements=elements if named else None)


PROTOCOLS = pytest.mark.parametrize("which", [0, 1], ids=["oprf", "ecdh"])


def of(lived: tuple[Stage, dict[str, Any]], which: int) -> tuple[Stage, str]:
    stage, told = lived
    return stage, told["outcomes"][which].receipt.receipt.exchange_id


@PROTOCOLS
@pytest.mark.parametrize("named", [True, False])
def test_the_list_that_was_asked_passes(
    lived: tuple[Stage, dict[str, Any]], which: int, named: bool
) -> None:
    stage, exchange_id = of(lived, which)
    result = run(stage, exchange_id, SUSPECTS, named=named)
    assert result.fault is None
    assert (result.rows, result.listed, result.ending) == (30, 30, "closed")


@PROTOCOLS
@pytest.mark.parametrize(
    ("change", "first"),
    [
        (lambda v: [*v[:4], b"someone else", *v[5:]], 4),
        (lambda v: [*v, b"one more"], 30),
        (lambda v: [b"one more", *v], 0),
        (lambda _v: [b"another list %d" % n for n in range(30)], 0),
    ],
)
def test_another_list_fails_and_its_first_row_is_named(
    lived: tuple[Stage, dict[str, Any]], which: int, change: Any, first: int
) -> None:
    stage, exchange_id = of(lived, which)
    result = run(stage, exchange_id, change(SUSPECTS))
    assert (result.fault, result.index) == (ReplayFault.LIST_DIFFERS, first)
    blunt = run(stage, exchange_id, change(SUSPECTS), named=False)
    assert (blunt.fault, blunt.index) == (ReplayFault.LIST_DIFFERS, None)


@PROTOCOLS
def test_a_list_that_lacks_a_row_fails_and_a_frame_is_named(
    lived: tuple[Stage, dict[str, Any]], which: int
) -> None:
    stage, exchange_id = of(lived, which)
    result = run(stage, exchange_id, [*SUSPECTS[:9], *SUSPECTS[10:]])
    assert result.fault is ReplayFault.LIST_DIFFERS
    assert result.frame is not None


def test_an_opening_of_another_exchange_fails(lived: tuple[Stage, dict[str, Any]]) -> None:
    stage, one = of(lived, 0)
    _stage, two = of(lived, 1)
    signed = signed_requests(stage.homes[AUTHORITY].log_path, trust(stage), one)
    opening, _elements = kept(stage, two)
    result = replay(signed, opening, column(SUSPECTS))
    assert result.fault is ReplayFault.OPENING_DIFFERS


def test_a_request_for_something_else_than_was_committed_to_is_found(
    lived: tuple[Stage, dict[str, Any]],
) -> None:
    stage, exchange_id = of(lived, 0)
    signed = signed_requests(stage.homes[PLATFORM].log_path, trust(stage), exchange_id)
    opening, _elements = kept(stage, exchange_id)
    other = SignedRequests(signed.offer, signed.frames, hashlib.sha256(b"x").digest(), "closed")
    assert replay(other, opening, column(SUSPECTS)).fault is ReplayFault.REQUESTS_DIFFER


class Breaking:
    """A responder that fails from the third frame on."""

    def __init__(self, responder: Any) -> None:
        self._responder = responder

    def answer(self, call: Call, request: Any, caller: Any) -> Any:
        if call is Call.EVALUATE and request.index >= 2:
            raise PsishareError("broken", mend="none")
        return self._responder.answer(call, request, caller)


@pytest.mark.parametrize("protocol", [suite.Protocol.OPRF, suite.Protocol.ECDH])
def test_an_exchange_that_was_aborted_replays_up_to_its_last_signed_frame(
    stage: Stage, protocol: suite.Protocol, tmp_path: Path
) -> None:
    offerings = stage.encode(SUSPECTS), stage.listing(SUSPECTS, name="list")
    responder = Breaking(stage.responder(*offerings))
    dataset = "customers" if protocol is suite.Protocol.OPRF else "list"
    with pytest.raises(PsishareError):
        stage.exchange(responder, stage.ask(SUSPECTS, protocol=protocol, dataset=dataset))
    (folder,) = (
        path
        for path in stage.homes[AUTHORITY].exchanges_path.iterdir()
        if (path / "elements").exists()
    )
    exchange_id = folder.name
    path = exported(stage, AUTHORITY, tmp_path / "a.bundle")
    signed = signed_requests(path, trust(stage), exchange_id)
    assert signed.ending == "aborted"
    assert 2 < signed.frames <= 5
    opening, elements = kept(stage, exchange_id)
    result = replay(signed, opening, column(SUSPECTS), elements=elements)
    assert (result.fault, result.frames) == (None, signed.frames)
    wrong = replay(signed, opening, column([b"x", *SUSPECTS[1:]]), elements=elements)
    assert wrong.fault is ReplayFault.LIST_DIFFERS


def test_an_exchange_that_the_evidence_does_not_tell_of_is_refused(
    lived: tuple[Stage, dict[str, Any]],
) -> None:
    stage, _told = lived
    with pytest.raises(InputError) as caught:
        signed_requests(stage.homes[PLATFORM].log_path, trust(stage), "ab" * 32)
    assert caught.value.reason == "exchange_not_found"


@PROTOCOLS
def test_elements_of_another_wire_version_are_not_called_others(
    lived: tuple[Stage, dict[str, Any]], which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, exchange_id = of(lived, which)
    monkeypatch.setattr("psishare.evidence.replay.WIRE_VERSION", WIRE_VERSION + 1)
    if which:
        # Of ecdh they have been the same in every version.
        assert run(stage, exchange_id, SUSPECTS).fault is None
        return
    with pytest.raises(InputError, match=f"wire version {WIRE_VERSION}") as caught:
        run(stage, exchange_id, SUSPECTS)
    assert caught.value.reason == "replay_unsupported"
