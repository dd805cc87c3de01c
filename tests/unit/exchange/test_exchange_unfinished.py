"""What is kept of an exchange that is not finished: sealed, whole or not at all, and of lengths that tell nothing."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from psishare.errors import AuditError
from psishare.exchange.unfinished import KeptResult, Unfinished
from psishare.psi.suite import Protocol

if TYPE_CHECKING:
    from pathlib import Path

ID, SEED, DIGEST = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
FOUND = pa.array([0, 1, 1, 0, 1], pa.uint8())
ELEMENTS = pa.array([bytes([i]) * 32 for i in range(5)], pa.binary(32))


def opened(folder: Path, *, seed: bytes = SEED, exchange_id: bytes = ID) -> Unfinished:
    return Unfinished(folder, exchange_id, seed, Protocol.OPRF)


def test_a_frame_is_found_again_by_another_process(tmp_path: Path) -> None:
    with opened(tmp_path) as kept:
        assert kept.frame(0) is None
        kept.keep_frame(0, DIGEST, FOUND)
        kept.keep_frame(1, bytes(32), FOUND.slice(1, 3))
    with opened(tmp_path) as again:
        first, second = again.frame(0), again.frame(1)
        assert first is not None
        assert second is not None
        assert (first.digest, first.learnt.to_pylist()) == (DIGEST, [0, 1, 1, 0, 1])
        assert second.learnt.to_pylist() == [1, 1, 0]
        assert again.frame(2) is None


def test_the_elements_that_came_first_are_remembered_by_another_process(tmp_path: Path) -> None:
    with opened(tmp_path) as kept:
        assert kept.same_elements(0, DIGEST)
        assert kept.same_elements(1, bytes(32))
    with opened(tmp_path) as again:
        assert again.same_elements(0, DIGEST)
        assert not again.same_elements(1, DIGEST)
        assert not again.same_elements(0, bytes(32))
        assert again.same_elements(0, DIGEST)


def test_elements_are_found_again_and_so_is_nothing_where_nothing_was_learnt(
    tmp_path: Path,
) -> None:
    with Unfinished(tmp_path, ID, SEED, Protocol.ECDH) as kept:
        kept.keep_frame(0, DIGEST, ELEMENTS.slice(2))
        kept.keep_frame(1, bytes(32), ELEMENTS.slice(0, 0))
        first, second = kept.frame(0), kept.frame(1)
        assert first is not None
        assert second is not None
        assert first.learnt.equals(ELEMENTS.slice(2))
        assert len(second.learnt) == 0


@pytest.mark.parametrize(
    "other", [{"seed": b"\x09" * 32}, {"exchange_id": b"\x09" * 32}], ids=["seed", "exchange"]
)
def test_another_seed_or_exchange_opens_nothing(tmp_path: Path, other: dict[str, bytes]) -> None:
    with opened(tmp_path) as kept:
        kept.keep_frame(0, DIGEST, FOUND)
        kept.keep_result(KeptResult(pa.array([1], pa.uint64()), 9), 5)
    with opened(tmp_path, **other) as again:
        assert again.frame(0) is None
        assert again.result(5) is None


def test_a_record_that_was_cut_off_counts_as_never_written_and_is_written_over(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as kept:
        kept.keep_frame(0, DIGEST, FOUND)
        kept.keep_frame(1, DIGEST, FOUND)
    path = tmp_path / "unfinished.sealed"
    whole = path.read_bytes()
    for length in range(len(whole) // 2, len(whole)):
        path.write_bytes(whole[:length])
        with opened(tmp_path) as again:
            assert again.frame(0) is not None
            assert again.frame(1) is None
            again.keep_frame(1, DIGEST, FOUND)
        with opened(tmp_path) as last:
            assert last.frame(1) is not None


def test_a_record_that_was_changed_counts_as_never_written(tmp_path: Path) -> None:
    with opened(tmp_path) as kept:
        kept.keep_frame(0, DIGEST, FOUND)
    path = tmp_path / "unfinished.sealed"
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with opened(tmp_path) as again:
            assert again.frame(0) is None


@pytest.mark.parametrize("n_rows", [1, 7, 8, 9, 64, 1000])
def test_a_result_is_kept_as_it_was_and_its_length_tells_the_rows_alone(
    tmp_path: Path, n_rows: int
) -> None:
    sizes = set()
    for name, matched in (("none", []), ("one", [n_rows - 1]), ("all", list(range(n_rows)))):
        folder = tmp_path / name
        folder.mkdir()
        with opened(folder) as kept:
            kept.keep_result(KeptResult(pa.array(matched, pa.uint64()), 77), n_rows)
        with opened(folder) as again:
            result = again.result(n_rows)
        assert result is not None
        assert (result.matched.to_pylist(), result.elements) == (matched, 77)
        sizes.add((folder / "unfinished.sealed").stat().st_size)
    assert len(sizes) == 1


def test_a_result_of_no_rows_is_a_result(tmp_path: Path) -> None:
    with opened(tmp_path) as kept:
        kept.keep_result(KeptResult(pa.array([], pa.uint64()), 0), 0)
        result = kept.result(0)
    assert result is not None
    assert result.matched.to_pylist() == []


def test_nothing_lies_in_the_clear_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    with Unfinished(tmp_path, ID, SEED, Protocol.ECDH) as kept:
        kept.keep_frame(0, DIGEST, ELEMENTS)
    path = tmp_path / "unfinished.sealed"
    data = path.read_bytes()
    assert not [element for element in ELEMENTS.to_pylist() if element in data]
    assert DIGEST not in data
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_same_frame_kept_twice_is_sealed_anew(tmp_path: Path) -> None:
    with opened(tmp_path) as kept:
        kept.keep_frame(0, DIGEST, FOUND)
        kept.keep_frame(0, DIGEST, FOUND)
    data = (tmp_path / "unfinished.sealed").read_bytes()
    half = len(data) // 2
    assert data[:13] == data[half : half + 13]
    assert data[13:half] != data[half + 13 :]


def test_a_full_disk_is_an_audit_error_and_leaves_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with opened(tmp_path) as kept:
        kept.keep_frame(0, DIGEST, FOUND)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(AuditError) as raised:
                kept.keep_frame(1, DIGEST, FOUND)
        assert raised.value.reason == "state_write_failed"
        assert kept.frame(0) is not None
        assert kept.frame(1) is None


def test_a_folder_that_is_gone_is_an_audit_error(tmp_path: Path) -> None:
    with pytest.raises(AuditError) as raised:
        opened(tmp_path / "absent")
    assert raised.value.reason == "state_write_failed"
