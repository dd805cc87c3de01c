"""The package's server is not safe for threads: frames that come at once must not abort it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from psishare import _native
from psishare.psi.openmined import OpenminedAuthority, OpenminedPlatform

VALUES = pa.array([b"a%d" % i for i in range(300)], pa.binary())


def test_frames_at_once_are_answered_as_one_after_the_other() -> None:
    pytest.importorskip("private_set_intersection")
    platform = OpenminedPlatform(seed=_native.Seed.generate(), identifiers=VALUES)
    client = OpenminedAuthority(seed=_native.Seed.generate())._client
    points = list(client.CreateRequest(VALUES.to_pylist()).encrypted_elements)
    frames = [pa.array(points[i : i + 10], pa.binary(33)) for i in range(0, 300, 10)]
    one_by_one = [platform.evaluate(frame).elements for frame in frames]
    with ThreadPoolExecutor(8) as threads:
        own = threads.submit(lambda: platform.elements)
        at_once = list(threads.map(lambda frame: platform.evaluate(frame).elements, frames * 4))
    assert at_once == one_by_one * 4
    assert len(own.result()) == len(VALUES)
