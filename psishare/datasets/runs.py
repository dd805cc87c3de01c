"""Sorted runs of fingerprints, spilled to the disk while a list is encoded.

Memory holds one run at a time. A run that is on the disk stays: it says in its name how many batches
of the input it ends with, so that an interrupted encoding goes on after it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa

from psishare import _native
from psishare.errors import ConfigError
from psishare.keys.durable_file import write_durably

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"run-(\d{6})-(\d+)-(\d+)")


class Runs:
    """The runs of one encoding, in its folder.

    Args:
        folder: where they lie; those that are there already are taken up.
        bits: bits of a fingerprint.

    Attributes:
        n_batches: batches of the input that the runs cover.
        n_rows: rows of them.
    """

    def __init__(self, folder: Path, bits: int) -> None:
        self._folder = folder
        self._bits = bits
        found = sorted(p for p in folder.iterdir() if _NAME.fullmatch(p.name))
        self._paths = [path for path in found if path.stat().st_size]
        self.n_batches, self.n_rows = 0, 0
        if found and (match := _NAME.fullmatch(found[-1].name)):
            self.n_batches, self.n_rows = int(match[2]), int(match[3])
        self._next = len(found)

    def add(
        self, fingerprints: list[pa.FixedSizeBinaryArray], *, n_batches: int, n_rows: int
    ) -> None:
        """Sort fingerprints into one run and write it durably.

        Args:
            fingerprints: as ``OprfKey.fingerprints`` returns them.
            n_batches: batches of the input up to here, from its start.
            n_rows: rows of them.

        Raises:
            ConfigError: the disk refuses.
        """
        run = _native.sort_distinct(pa.concat_arrays(fingerprints), bits=self._bits)
        path = self._folder / f"run-{self._next:06d}-{n_batches}-{n_rows}"
        write_durably(path, memoryview(run.buffers()[1]), error=ConfigError)
        if len(run):
            self._paths.append(path)
        self.n_batches, self.n_rows = n_batches, n_rows
        self._next += 1

    def open(self) -> list[pa.FixedSizeBinaryArray]:
        """Map the runs: ``fixed_size_binary[ceil(bits / 8)]``, each strictly increasing."""
        width = -(-self._bits // 8)
        runs = []
        for path in self._paths:
            with pa.memory_map(str(path)) as source:
                buffer = source.read_buffer()
            count = buffer.size // width
            runs.append(
                pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), count, [None, buffer])
            )
        return runs

    def remove(self) -> None:
        """Remove the runs' files."""
        for path in self._folder.iterdir():
            if _NAME.fullmatch(path.name):
                path.unlink()
