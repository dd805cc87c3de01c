"""What the Rust core takes and gives: Arrow arrays of every layout, errors with rows."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from psishare import _native
from psishare.errors import InputError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = [b"", b"one", b"two" * 40, bytes(300), "größe".encode()]
SEED = _native.Seed.from_secret_bytes(bytes(range(32)))
KEY = _native.OprfKey.derive_key_pair(bytes(32), b"columns")


def uint64(values: Any) -> pa.UInt64Array:
    return pa.array(values, pa.uint64())


def blinded(rows: int) -> pa.FixedSizeBinaryArray:
    values = pa.array([b"value %d" % row for row in range(rows)], pa.binary())
    return SEED.blind(values, uint64(range(rows)))


def finalize(values: pa.Array, **changed: Any) -> pa.FixedSizeBinaryArray:
    indices = uint64(range(len(values)))
    request = SEED.blind(values, indices)
    evaluated, proof = KEY.blind_evaluate(request)
    arguments = {
        "identifiers": values,
        "indices": indices,
        "blinded": request,
        "evaluated": evaluated,
        "proof": proof,
        "public_key": KEY.public_key,
        "bits": 80,
    }
    return SEED.finalize(**(arguments | changed))


class Capsule:
    """Something that is no pyarrow array but has the PyCapsule interface."""

    def __init__(self, array: pa.Array) -> None:
        self._array = array

    def __arrow_c_array__(self, requested_schema: object = None) -> object:
        return self._array.__arrow_c_array__(requested_schema)


LAYOUTS: dict[str, Callable[[list[bytes]], Any]] = {
    "binary": lambda values: pa.array(values, pa.binary()),
    "large_binary": lambda values: pa.array(values, pa.large_binary()),
    "sliced": lambda values: pa.array([b"skip", b"", *values, b"skip"], pa.binary()).slice(
        2, len(values)
    ),
    "large, sliced": lambda values: pa.array([b"skip", *values, b"x"], pa.large_binary()).slice(
        1, len(values)
    ),
    "no nulls, but a mask": lambda values: pa.array([None, *values], pa.binary()).slice(1),
    "capsule": lambda values: Capsule(pa.array(values, pa.binary())),
    "unaligned offsets": lambda values: unaligned(pa.array(values, pa.binary())),
}


def unaligned(array: pa.Array) -> pa.Array:
    """The same array with its offsets one byte off every boundary, as a message may hold them."""
    _, offsets, data = array.buffers()
    shifted = pa.py_buffer(b"\0" + offsets.to_pybytes()).slice(1)
    return pa.Array.from_buffers(array.type, len(array), [None, shifted, data])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_results(layout: str) -> None:
    plain, column = pa.array(VALUES, pa.binary()), LAYOUTS[layout](VALUES)
    indices = uint64(range(len(VALUES)))
    assert KEY.evaluate(column) == KEY.evaluate(plain)
    assert SEED.blind(column, indices) == SEED.blind(plain, indices)
    assert SEED.scalar().blind(column) == SEED.scalar().blind(plain)
    assert _native.merkle_root(column) == _native.merkle_root(plain)


def test_sliced_elements_and_indices_are_read_where_they_begin() -> None:
    elements = blinded(300)
    part = elements.slice(150, 100)
    copy = pa.array(part.to_pylist(), pa.binary(32))
    assert SEED.scalar().multiply(part) == SEED.scalar().multiply(copy)
    assert KEY.blind_evaluate(part)[0] == KEY.blind_evaluate(copy)[0]
    assert _native.sort_elements(part)[0] == _native.sort_elements(copy)[0]
    assert _native.contains(part, elements).to_pylist() == [150 <= row < 250 for row in range(300)]
    values = pa.array([b"value %d" % row for row in range(300)], pa.binary())
    indices = uint64(range(300)).slice(150, 100)
    assert SEED.blind(values.slice(150, 100), indices) == part


def test_results_are_pyarrow_arrays_of_the_stated_types() -> None:
    values = pa.array(VALUES, pa.binary())
    assert KEY.evaluate(values).type == pa.binary(64)
    assert KEY.fingerprints(values, bits=83).type == pa.binary(11)
    elements = blinded(5)
    assert isinstance(elements, pa.FixedSizeBinaryArray)
    assert elements.type == pa.binary(32)
    evaluated, proof = KEY.blind_evaluate(elements)
    assert evaluated.type == pa.binary(32)
    assert len(proof) == 64
    assert SEED.order(5).type == pa.uint64()
    ordered, rows = _native.sort_elements(elements)
    assert (ordered.type, rows.type) == (pa.binary(32), pa.uint64())
    assert _native.contains(elements, elements).type == pa.bool_()
    for result in (elements, evaluated, ordered, rows):
        result.validate(full=True)
        assert result.null_count == 0


def test_empty_columns_give_empty_results() -> None:
    none, no_elements = pa.array([], pa.binary()), pa.array([], pa.binary(32))
    assert KEY.evaluate(none) == pa.array([], pa.binary(64))
    assert SEED.blind(none, uint64([])) == no_elements
    assert SEED.scalar().blind(none) == no_elements
    assert SEED.scalar().multiply(no_elements) == no_elements
    assert _native.contains(no_elements, no_elements) == pa.array([], pa.bool_())
    assert _native.sort_elements(no_elements) == (no_elements, uint64([]))
    assert _native.first_not_increasing(no_elements, None) is None
    assert SEED.order(0) == uint64([])


WRONG_VALUES = {
    "strings": pa.array(["text"]),
    "fixed": pa.array([b"text"], pa.binary(4)),
    "numbers": pa.array([1]),
    "nulls": pa.array([b"one", None], pa.binary()),
    "dictionary": pa.array([b"one"], pa.binary()).dictionary_encode(),
    "chunked": pa.chunked_array([[b"one"]], pa.binary()),
    "falling offsets": pa.Array.from_buffers(
        pa.binary(), 2, [None, pa.py_buffer(struct.pack("=3i", 0, 5, 2)), pa.py_buffer(b"hello")]
    ),
    "a list": [b"one"],
    "None": None,
    "a record batch": pa.record_batch({"value": pa.array([b"one"], pa.binary())}),
}


@pytest.mark.parametrize("wrong", WRONG_VALUES)
def test_column_that_is_not_binary_is_refused(wrong: str) -> None:
    column: Any = WRONG_VALUES[wrong]
    calls: list[Callable[[], object]] = [
        lambda: KEY.evaluate(column),
        lambda: SEED.blind(column, uint64([0])),
        lambda: SEED.scalar().blind(column),
        lambda: _native.merkle_root(column),
    ]
    for call in calls:
        with pytest.raises(InputError) as refused:
            call()
        assert refused.value.mend


WRONG_ELEMENTS = {
    "31 bytes": pa.array([bytes(31)], pa.binary(31)),
    "variable": pa.array([bytes(32)], pa.binary()),
    "nulls": pa.array([bytes(32), None], pa.binary(32)),
    "numbers": pa.array([1]),
}


@pytest.mark.parametrize("wrong", WRONG_ELEMENTS)
def test_peer_column_that_is_not_of_elements_breaks_the_protocol(wrong: str) -> None:
    column: Any = WRONG_ELEMENTS[wrong]
    with pytest.raises(ProtocolError):
        KEY.blind_evaluate(column)
    with pytest.raises(ProtocolError):
        SEED.scalar().multiply(column)
    with pytest.raises(ProtocolError):
        finalize(pa.array([b"one"], pa.binary()), evaluated=column)


def test_zero_width_is_refused() -> None:
    column = pa.array([b""], pa.binary(0))
    with pytest.raises(InputError):
        _native.sort_elements(column)


def test_columns_of_different_lengths_are_refused() -> None:
    values = pa.array(VALUES, pa.binary())
    with pytest.raises(InputError):
        SEED.blind(values, uint64([0]))
    with pytest.raises(InputError):
        finalize(values, indices=uint64([0]))
    with pytest.raises(InputError):
        finalize(values, blinded=blinded(2))
    with pytest.raises(ProtocolError, match="answered with 2"):
        finalize(values, evaluated=KEY.blind_evaluate(blinded(2))[0])


def test_too_long_value_is_named_by_row_only() -> None:
    canary = b"canary" * 12_000
    values = pa.array([b"one", canary, canary], pa.binary())
    for call in (KEY.evaluate, SEED.scalar().blind, lambda v: SEED.blind(v, uint64([0, 1, 2]))):
        with pytest.raises(InputError, match="row 1 ") as refused:
            call(values)
        assert "canary" not in refused.value.diagnostics()
    longest = pa.array([bytes(65_535)], pa.binary())
    assert len(KEY.evaluate(longest)) == 1


@pytest.mark.parametrize("bits", [0, 513, -1, 2**70, 1.5, "80", None])
def test_bits_out_of_range_are_refused(bits: Any) -> None:
    values = pa.array(VALUES, pa.binary())
    with pytest.raises(InputError):
        KEY.fingerprints(values, bits=bits)
    with pytest.raises(InputError):
        finalize(values, bits=bits)


@pytest.mark.parametrize("rows", [-1, 2**32, 2**64, "3", None])
def test_impossible_number_of_rows_is_refused(rows: Any) -> None:
    with pytest.raises(InputError):
        SEED.order(rows)


def test_byte_strings_of_other_lengths_are_refused() -> None:
    calls: list[Callable[[], object]] = [
        lambda: _native.Seed.from_secret_bytes(bytes(31)),
        lambda: _native.OprfKey.from_secret_bytes(bytes(range(33))),
        lambda: _native.OprfKey.derive_key_pair(bytes(33), b""),
        lambda: _native.OprfKey.derive_key_pair(bytes(32), bytes(65_536)),
        lambda: SEED.commitment(bytes(31)),
        lambda: _native.one_way_map(bytes(63)),
        lambda: _native.blind_rfc9497(pa.array([b"x"], pa.binary()), bytes(31)),
        lambda: _native.prove_with(KEY, blinded(1), blinded(1), bytes(31)),
        lambda: _native.first_not_increasing(blinded(1), bytes(31)),
    ]
    for call in calls:
        with pytest.raises(InputError):
            call()
    assert not _native.is_canonical_element(bytes(31))


def test_elements_out_of_order_are_found() -> None:
    ordered, rows = _native.sort_elements(blinded(400))
    assert sorted(rows.to_pylist()) == list(range(400))
    assert ordered.to_pylist() == sorted(ordered.to_pylist())
    assert _native.first_not_increasing(ordered, None) is None
    assert _native.first_not_increasing(ordered.slice(1), ordered[0].as_py()) is None
    assert _native.first_not_increasing(ordered.slice(1), ordered[1].as_py()) == 0
    doubled = pa.concat_arrays([ordered.slice(0, 200), ordered.slice(199)])
    assert _native.first_not_increasing(doubled, None) == 200


def test_columns_of_different_widths_are_not_compared() -> None:
    for compare in (_native.contains, _native.lookup):
        with pytest.raises(InputError, match="widths"):
            compare(blinded(1), pa.array([b"x"], pa.binary(1)))


def test_columns_in_frames_are_compared_as_one_column() -> None:
    elements = blinded(300)
    frames = [elements.slice(start, 128) for start in range(0, 300, 128)]
    needles = [elements.slice(200, 60), elements.slice(10, 40)]
    found = _native.contains_in_frames(frames[1:], needles)
    assert found.to_pylist() == [True] * 60 + [False] * 40
    assert _native.contains_in_frames([], needles).to_pylist() == [False] * 100
    assert len(_native.contains_in_frames(frames, [])) == 0
    with pytest.raises(InputError, match="another length"):
        _native.contains_in_frames([frames[2], frames[0]], needles)


def test_distinct_rows_are_the_first_of_each_value() -> None:
    values = pa.array([b"b", b"a", b"b", b"", b"a"], pa.large_binary())
    first_rows, indices = _native.distinct_rows(values)
    assert (first_rows.type, indices.type) == (pa.uint32(), pa.uint32())
    assert first_rows.to_pylist() == [0, 1, 3]
    assert indices.to_pylist() == [0, 1, 0, 2, 1]


def test_foreign_exception_is_kept_as_the_cause() -> None:
    column: Any = [b"one"]
    with pytest.raises(InputError) as refused:
        KEY.evaluate(column)
    assert isinstance(refused.value.__cause__, TypeError)


def test_interrupt_of_the_exporter_is_not_swallowed() -> None:
    class Interrupted:
        def __arrow_c_array__(self, requested_schema: object = None) -> object:
            raise KeyboardInterrupt

    column: Any = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        KEY.evaluate(column)


def test_secrets_do_not_print() -> None:
    for secret in (SEED, KEY, SEED.scalar()):
        assert repr(secret) == f"{type(secret).__name__}(<redacted>)"
        assert str(secret) == repr(secret)


def test_secret_bytes_round_trip() -> None:
    again = _native.OprfKey.from_secret_bytes(KEY.secret_bytes())
    assert again.public_key == KEY.public_key
    seed = _native.Seed.generate()
    assert _native.Seed.from_secret_bytes(seed.secret_bytes()).order(9) == seed.order(9)
    assert seed.secret_bytes() != _native.Seed.generate().secret_bytes()
    generated = _native.OprfKey.generate()
    assert generated.secret_bytes() != _native.OprfKey.generate().secret_bytes()


def test_other_threads_run_meanwhile() -> None:
    values = pa.array([b"value %d" % row for row in range(20_000)], pa.binary())
    done = threading.Event()
    turns = 0

    def work() -> None:
        KEY.evaluate(values)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    # With the GIL held, this loop would get its first turn after the work is done.
    while not done.is_set():
        turns += 1
    worker.join()
    assert turns > 1_000


def test_threads_share_one_key() -> None:
    values = pa.array([b"value %d" % row for row in range(500)], pa.binary())
    expected, results = KEY.evaluate(values), []
    threads = [
        threading.Thread(target=lambda: results.append(KEY.evaluate(values))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 6


FORKED = """
import os, sys
import pyarrow as pa
from psishare import _native

key = _native.OprfKey.generate()
values = pa.array([b"value %d" % row for row in range(1000)], pa.binary())
expected = key.evaluate(values)
child = os.fork()
if child == 0:
    os._exit(0 if key.evaluate(values) == expected else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_forked_process_works_too() -> None:
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=30)


def test_number_of_threads_can_be_set() -> None:
    script = (
        "import os, pyarrow as pa\n"
        "from psishare import _native\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "_native.merkle_root(pa.array([b'x'], pa.binary()))\n"
        "print(len(os.listdir('/proc/self/task')) - before)\n"
    )
    if not os.path.isdir("/proc/self/task"):  # noqa: PTH112 (a pseudo file system, not data)
        pytest.skip("this system does not list threads")
    for threads in (1, 3):
        run = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"RAYON_NUM_THREADS": str(threads)},
            check=True,
            timeout=30,
            capture_output=True,
            text=True,
        )
        assert int(run.stdout) == threads
