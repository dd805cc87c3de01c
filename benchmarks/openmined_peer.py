"""The same task with ``openmined-psi`` alone: two processes, file to file, one core each.

``server FILE`` and ``client FILE OUT CARRIED`` speak over a pair of pipes. Both canonicalise with psishare's
own rules, so that the two answers can be compared; the rest is the package's.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import private_set_intersection.python as psi
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from psishare.identifiers import canonicalise

if TYPE_CHECKING:
    from collections.abc import Iterator


def read_numbers(path: Path) -> pa.Array:
    """Return the canonical phone numbers of a list, row by row."""
    options = pacsv.ConvertOptions(column_types={"number": pa.string()})
    table = pacsv.read_csv(path, convert_options=options)
    return canonicalise(table.column("number"), "phone", region="DE").values


def send(pipe: BinaryIO, data: bytes) -> None:
    """Write a message with its length before it."""
    pipe.write(len(data).to_bytes(8, "big") + data)
    pipe.flush()


def receive(pipe: BinaryIO) -> bytes:
    """Read a message with its length before it."""
    return pipe.read(int.from_bytes(pipe.read(8), "big"))


def serve(path: Path, inbox: BinaryIO, outbox: BinaryIO) -> None:
    """Send the set, then answer the request."""
    server = psi.server.CreateWithNewKey(True)
    numbers = read_numbers(path).unique().to_pylist()
    n_asked = int.from_bytes(receive(inbox), "big")
    setup = server.CreateSetupMessage(0.0, n_asked, numbers, psi.DataStructure.RAW)
    send(outbox, setup.SerializeToString())
    request = psi.Request()
    request.ParseFromString(receive(inbox))
    send(outbox, server.ProcessRequest(request).SerializeToString())


def ask(path: Path, out: Path, carried: Path, inbox: BinaryIO, outbox: BinaryIO) -> None:
    """Ask about a list, write the rows that matched, and how many bytes the messages had."""
    client = psi.client.CreateWithNewKey(True)
    encoded = read_numbers(path).dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    numbers = encoded.dictionary.to_pylist()
    send(outbox, len(numbers).to_bytes(8, "big"))
    request = client.CreateRequest(numbers).SerializeToString()
    setup, response = psi.ServerSetup(), psi.Response()
    received = receive(inbox)
    send(outbox, request)
    setup.ParseFromString(received)
    answer = receive(inbox)
    response.ParseFromString(answer)
    matched = pa.array(client.GetIntersection(setup, response), pa.int32())
    write_rows(path, out, matched_rows(encoded.indices, matched))
    n_bytes = len(received) + len(request) + len(answer)
    carried.write_text(str(n_bytes), encoding="ascii")


def matched_rows(indices: pa.Array, matched: pa.Array) -> Iterator[bool]:
    """Yield for each row whether its number matched."""
    yield from pc.is_in(indices, value_set=matched).to_pylist()


def write_rows(path: Path, out: Path, keep: Iterator[bool]) -> None:
    """Write the header and the rows to keep."""
    with path.open("rb") as source, out.open("wb") as target:
        target.write(next(source))
        target.writelines(row for row, kept in zip(source, keep, strict=True) if kept)


def main() -> None:
    """Play one side."""
    inbox, outbox = sys.stdin.buffer, sys.stdout.buffer
    if sys.argv[1] == "server":
        serve(Path(sys.argv[2]), inbox, outbox)
    else:
        source, out, carried = map(Path, sys.argv[2:])
        ask(source, out, carried, inbox, outbox)


if __name__ == "__main__":
    main()
