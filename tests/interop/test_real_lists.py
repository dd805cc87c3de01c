"""Two real lists of malicious addresses, as two organisations published them: 2,923 in common.

The lists are not part of the project. They are looked for in ``data/`` of the folder that
``PSISHARE_SHARED`` names, or of ``../shared`` beside the checkout.
"""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import pytest
from stage import AUTHORITY, PLATFORM, Stage

from psishare.client import KeyColumn, ListSource, Party
from psishare.evidence.verify import Ending, verify_log
from psishare.tables import open_table

SHARED = Path(os.environ.get("PSISHARE_SHARED", Path(__file__).parents[3] / "shared"))
LISTS = {name: SHARED / "data" / f"{name}-ips.csv.gz" for name in ("platform", "authority")}
IN_COMMON = 2_923
KEY = KeyColumn("ipv4", "ip")

pytestmark = pytest.mark.skipif(
    not all(path.is_file() for path in LISTS.values()),
    reason=f"the two real lists are not in {SHARED}",
)


def unpack(folder: Path, name: str) -> Path:
    path = folder / f"{name}.csv"
    path.write_bytes(gzip.decompress(LISTS[name].read_bytes()))
    return path


def addresses(path: Path) -> list[str]:
    with path.open(encoding="ascii", newline="") as file:
        return [row["ip"] for row in csv.DictReader(file)]


@pytest.mark.parametrize(("held", "asked"), [("platform", "authority"), ("authority", "platform")])
def test_real_lists_have_2923_addresses_in_common(
    stage: Stage, tmp_path: Path, held: str, asked: str
) -> None:
    ours, theirs = unpack(tmp_path, asked), unpack(tmp_path, held)
    envelope = stage.envelope(kinds=["ipv4"])
    known = set(addresses(theirs))
    right = [address for address in addresses(ours) if address in known]
    assert len(right) == IN_COMMON
    with (
        Party.open(stage.homes[PLATFORM].path) as platform,
        Party.open(stage.homes[AUTHORITY].path) as authority,
    ):
        platform.encode(open_table(theirs), KEY, name="addresses")
        lists = [ListSource(open_table(theirs), KEY, "addresses")]
        with (
            platform.serve("127.0.0.1:0", datasets=["addresses"], lists=lists) as server,
            authority.connect(PLATFORM, server.address) as session,
        ):
            for protocol in ("oprf", "ecdh"):
                out = tmp_path / f"{protocol}.csv"
                session.match(
                    open_table(ours),
                    key=KEY,
                    dataset="addresses",
                    mandate=envelope,
                    protocol=protocol,
                    out=out,
                )
                assert addresses(out) == right
    trust = {name: home.card for name, home in stage.homes.items()}
    for name in (PLATFORM, AUTHORITY):
        verdict = verify_log(stage.homes[name].log_path, trust)
        assert [e.ending for e in verdict.exchanges] == [Ending.CLOSED, Ending.CLOSED]
