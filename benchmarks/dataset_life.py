"""The life of a large dataset: encoded, synchronised, asked often, updated."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import PSISHARE, require_listening
from benchmarks.lists import Lists, make_lists, write_changes
from benchmarks.measure import Cost, run, start
from benchmarks.parties import AUTHORITY, PLATFORM, prepare_parties
from psishare.client import KeyColumn, Party, open_table

if TYPE_CHECKING:
    from collections.abc import Sequence

ASKED = (1_000, 100_000)
REPEATS = 5
CHANGED = 1_000
"""One row in so many changes."""
TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class DatasetLife:
    """What a dataset costs.

    Attributes:
        items: what it holds.
        n_bytes: the bytes of its shards.
        encode: the platform's process that encodes it.
        synchronise_s: the first exchange of an authority, which fetches all of it.
        exchanges_s: by rows asked, each exchange's seconds: greeting, proofs, logs, receipt and result
            file, but no process start.
        serve_peak_bytes: the most memory that the platform's server held.
        update: the platform's process that changes one row in a thousand.
        changed: rows that it changed.
    """

    items: int
    n_bytes: int
    encode: Cost
    synchronise_s: float
    exchanges_s: dict[int, list[float]]
    serve_peak_bytes: int
    update: Cost
    changed: int


def live(folder: Path, exponent: int) -> DatasetLife:
    """Live it once, with 2^exponent rows."""
    n_platform = 2**exponent
    lists: list[Lists] = []
    for n_authority in ASKED:
        place = folder / str(n_authority)
        place.mkdir()
        known = lists[0].platform if lists else None
        lists.append(make_lists(place, n_platform, n_authority, platform=known))
    prepare_parties(folder, max(ASKED))
    home = ["--home", str(folder / PLATFORM)]
    key = ["--key", "phone=number", "--region", "DE", "--json"]
    data = ["--data", str(lists[0].platform)]
    encode = run([*PSISHARE, "dataset", "encode", "customers", *data, *key, *home])
    print(f"encoded 2^{exponent} in {encode.wall_s:.1f} s", file=sys.stderr)
    with Party.open(folder / PLATFORM) as party:
        manifest = party.datasets()[0].manifest
    served = ["--dataset", "customers", "--listen", "127.0.0.1:0", "--json"]
    server = start([*PSISHARE, "serve", *served, *home])
    try:
        seconds = _ask_apart(folder, require_listening(server), n_platform)
    finally:
        server.process.terminate()
    serve_peak_bytes = server.finish().peak_bytes
    added, removed = write_changes(folder, lists[0], n_platform // CHANGED)
    changes = ["--add", str(added), "--remove", str(removed)]
    update = run([*PSISHARE, "dataset", "update", "customers", *changes, *key, *home])
    return DatasetLife(
        items=manifest.items,
        n_bytes=manifest.n_bytes,
        encode=encode,
        synchronise_s=seconds.pop(0)[0],
        exchanges_s=dict(zip(ASKED, seconds, strict=True)),
        serve_peak_bytes=serve_peak_bytes,
        update=update,
        changed=n_platform // CHANGED,
    )


def _ask_apart(folder: Path, address: str, n_platform: int) -> list[list[float]]:
    """Do what ``_ask`` does in a process of its own, whose start is not counted."""
    command = [sys.executable, "-m", "benchmarks.dataset_life", str(folder), address]
    answer = subprocess.run(
        [*command, str(n_platform)], check=True, stdout=subprocess.PIPE, text=True
    )
    seconds: list[list[float]] = json.loads(answer.stdout)
    return seconds


def _ask(folder: Path, address: str, lists: Sequence[Lists]) -> list[list[float]]:
    """Return the seconds of the first exchange, then those of each list's."""
    mandate = folder / "mandate.json"
    with Party.open(folder / AUTHORITY) as party:
        first = [_exchange(party, address, lists[0], mandate)]
        rest = [
            [_exchange(party, address, each, mandate) for _ in range(REPEATS)] for each in lists
        ]
    return [first, *rest]


def _exchange(party: Party, address: str, lists: Lists, mandate: Path) -> float:
    """Connect, ask about a list, write the result, and return the seconds that took."""
    out = lists.authority.with_name("result.csv")
    started = time.monotonic()
    with party.connect(PLATFORM, address, timeout_s=TIMEOUT_S) as session:
        session.match(
            open_table(lists.authority),
            key=KeyColumn("phone", "number", region="DE"),
            dataset="customers",
            mandate=mandate,
            out=out,
            overwrite=True,
        )
    seconds = time.monotonic() - started
    lists.require_right(out)
    return seconds


def main() -> None:
    """Ask, and print the seconds that each exchange took."""
    folder, address, n_platform = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    lists = [Lists.at(folder / str(n), n_platform, n, None) for n in ASKED]
    json.dump(_ask(folder, address, lists), sys.stdout)


if __name__ == "__main__":
    main()
