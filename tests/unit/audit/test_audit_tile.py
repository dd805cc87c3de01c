from __future__ import annotations

import random
from pathlib import PurePosixPath

import pytest

from psishare.audit.growth import grow
from psishare.audit.merkle import leaf_hash, tree_hash
from psishare.audit.tile import (
    ENTRIES_LEVEL,
    Tile,
    join_bundle,
    levels,
    parse_tile_path,
    rightmost_tile,
    root_of_edge,
    split_bundle,
    split_hashes,
)
from psishare.errors import VerificationError

PATHS = {
    Tile(0, 0): "tile/0/000",
    Tile(0, 999): "tile/0/999",
    Tile(0, 1000): "tile/0/x001/000",
    Tile(1, 1234067): "tile/1/x001/x234/067",
    Tile(0, 273, 112): "tile/0/273.p/112",
    Tile(2, 0, 1): "tile/2/000.p/1",
    Tile(ENTRIES_LEVEL, 5): "tile/entries/005",
    Tile(ENTRIES_LEVEL, 1234067, 255): "tile/entries/x001/x234/067.p/255",
}


@pytest.mark.parametrize(("tile", "path"), PATHS.items(), ids=PATHS.values())
def test_a_tile_s_path_is_as_tlog_tiles_writes_it(tile: Tile, path: str) -> None:
    assert str(tile.path) == path
    assert parse_tile_path(PurePosixPath(path)) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile",
        "tile/0",
        "tile/00/000",
        "tile/8/000",
        "tile/-1/000",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/000.p",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/+1",
        "tile/0/000.p/1_0",
        "tile/0/000.p/1.p",
        "tile/0/\u0661\u0662\u0663",
        "tile/Entries/000",
        "tiles/0/000",
        "checkpoint",
    ],
)
def test_another_spelling_names_no_tile(path: str) -> None:
    assert parse_tile_path(PurePosixPath(path)) is None


def test_a_tree_of_70000_has_the_tiles_that_the_specification_counts() -> None:
    # C2SP tlog-tiles: 273 full and one of 112; one full and one of 17; one of 1.
    assert [rightmost_tile(level, 70_000) for level in levels(70_000)] == [
        Tile(0, 273, 112),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]
    assert rightmost_tile(0, 256) is None
    assert rightmost_tile(1, 256) == Tile(1, 0, 1)
    assert rightmost_tile(ENTRIES_LEVEL, 257) == Tile(ENTRIES_LEVEL, 1, 1)
    assert [list(levels(size)) for size in (0, 1, 255, 256, 65_535, 65_536)] == [
        [],
        [0],
        [0],
        [0, 1],
        [0, 1],
        [0, 1, 2],
    ]


def test_a_bundle_survives_its_bytes() -> None:
    entries = [b"", b"a", b"x" * 65_535]
    data = join_bundle(entries)
    assert data[:5] == b"\x00\x00\x00\x01a"
    assert split_bundle(data, 3) == entries


@pytest.mark.parametrize(
    ("data", "width"),
    [(b"\x00", 1), (b"\x00\x02a", 1), (b"\x00\x01a", 2), (b"\x00\x01a\x00\x00", 1), (b"", 1)],
)
def test_a_damaged_bundle_is_refused(data: bytes, width: int) -> None:
    with pytest.raises(VerificationError):
        split_bundle(data, width)


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65, 96])
def test_a_tile_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(VerificationError):
        split_hashes(bytes(length), 2)


def test_growth_by_any_steps_gives_the_tree_of_the_entries() -> None:
    numbers = random.Random(7)
    entries: list[bytes] = []
    edge: list[list[bytes]] = []
    open_bundle: list[bytes] = []
    files: dict[Tile, bytes] = {}
    while len(entries) < 1400:
        added = [numbers.randbytes(9) for _ in range(numbers.choice([1, 2, 3, 100, 256]))]
        growth = grow(len(entries), edge, open_bundle, added)
        entries += added
        files |= dict(growth.files)
        leaves = [leaf_hash(entry) for entry in entries]
        assert (growth.size, growth.root) == (len(entries), tree_hash(leaves))
        edge = []
        for level in levels(len(entries)):
            tile = rightmost_tile(level, len(entries))
            edge.append(split_hashes(files[tile], tile.width) if tile else [])
        assert root_of_edge(edge) == growth.root
        tile = rightmost_tile(ENTRIES_LEVEL, len(entries))
        open_bundle = split_bundle(files[tile], tile.width) if tile else []
        assert open_bundle == entries[len(entries) // 256 * 256 :]


def test_level_two_appears_with_the_65536th_entry() -> None:
    full = [leaf_hash(bytes([i])) for i in range(255)]
    growth = grow(65_535, [full, full], [b""] * 255, [b"last"])
    assert [tile for tile, _ in growth.files] == [
        Tile(ENTRIES_LEVEL, 255),
        Tile(0, 255),
        Tile(1, 0),
        Tile(2, 0, 1),
    ]
    assert growth.root == growth.files[-1][1]
