"""A platform, an authority with a case-management system, and four cases under three mandates.

Run it with ``python four_cases.py``.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from case_system import CaseList, CaseSystem, Finding

import psishare
from psishare.mandates.envelope import sign_envelope

if TYPE_CHECKING:
    from psishare.parties.home import Home

ROLES = {"tele": "platform", "police": "authority", "prosecutor": "issuer", "court": "issuer"}
CUSTOMERS = pa.table(
    {"number": ["+44 7700 900001", "07700 900002", "(0044) 7700-900003", "+1 212 555 0104"]}
)


def make_parties(folder: Path) -> dict[str, Home]:
    """Make four homes, and let them pin each other as people who have read out their words."""
    homes = {
        name: psishare.init_party(
            folder / name, party_id=f"{name}.example", role=role, display_name=name.title()
        )
        for name, role in ROLES.items()
    }
    pin(homes["tele"], homes["police"])
    pin(homes["tele"], homes["prosecutor"], "issuer")
    pin(homes["tele"], homes["court"], "validator")
    pin(homes["police"], homes["tele"])
    return homes


def pin(home: Home, other: Home, *trusted_as: str) -> None:
    """Pin a party's card."""
    psishare.pin_peer(
        home,
        other.export_card(),
        fingerprint=other.card.fingerprint(),
        trusted_as=frozenset(trusted_as),
    )


def signed_mandate(homes: dict[str, Home], case: str, **changes: Any) -> bytes:
    """Draft a mandate, and have prosecutor and court sign it."""
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "issuer": "prosecutor.example",
        "validator": "court.example",
        "validator_role": "court",
        "authority": "police.example",
        "platform": "tele.example",
        "datasets": ("customers",),
        "kinds": ("phone",),
        "outputs": ("matches",),
        "max_rows_per_exchange": 10,
        "max_rows_total": 10,
        "max_exchanges": 1,
        "jurisdiction": "GB",
        "legal_basis": "Communications data act, section 1",
        "purpose": "to find the accounts of suspects",
        "not_before": now - timedelta(days=2),
        "not_after": now + timedelta(days=30),
        "now": now,
    }
    drafted = psishare.draft_mandate(homes["prosecutor"], case, **(fields | changes))
    envelope = drafted.envelope
    for name in ("prosecutor", "court"):
        envelope = sign_envelope(envelope, homes[name].log_signer(), party=f"{name}.example")
    return envelope


def main() -> None:
    """Run four cases and print what was filed."""
    with tempfile.TemporaryDirectory(prefix="psishare-example-") as folder:
        homes = make_parties(Path(folder))
        in_force = signed_mandate(homes, "case 1")
        expired = signed_mandate(homes, "case 2", not_after=datetime.now(UTC) - timedelta(days=1))
        two_rows = signed_mandate(homes, "case 3", max_rows_per_exchange=2)
        table = pa.table(
            {"ref": ["a", "b", "c"], "phone": ["00447700900001", "+44 7700 900009", "+12125550104"]}
        )
        own = CaseList(
            pa.array(["d", "e", "f"]), pa.array(["07700 900 003", "unknown", "+447700900003"])
        )
        with psishare.Party.open(homes["tele"].path) as tele:
            tele.encode(
                CUSTOMERS, psishare.KeyColumn.parse("phone=number", region="GB"), name="customers"
            )
            with tele.serve("127.0.0.1:0", datasets=["customers"]) as server:
                system = CaseSystem(homes["police"].path, "tele.example", server.address)
                system.ask("case 1", table, in_force)
                system.ask("case 2", table, expired)
                system.ask("case 3", table, two_rows)
                system.ask("case 4", own, signed_mandate(homes, "case 4"))
        for filed in system.file:
            if isinstance(filed, Finding):
                print(f"{filed.case}: asked {filed.asked}, matched {', '.join(filed.refs)}")
            else:
                print(
                    f"{filed.case}: refused by {filed.refused_by}: {filed.reason}. {filed.advice}"
                )


if __name__ == "__main__":
    main()
