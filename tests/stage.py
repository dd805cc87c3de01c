"""A stage for tests: every party's home, mandates, and both sides of an exchange."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from psishare.client import init_party
from psishare.client.opened_home import open_log
from psishare.datasets.manifest import Ruleset as ManifestRuleset
from psishare.datasets.store import DatasetStore, Parameters
from psishare.exchange.ask import Ask
from psishare.exchange.authority import Authority, Outcome
from psishare.exchange.document import now, write_time
from psishare.exchange.journal import Journal
from psishare.exchange.offer import Ruleset
from psishare.exchange.offering import EncodedOffering, ListOffering, Offering
from psishare.exchange.platform import Platform
from psishare.exchange.register import Register
from psishare.exchange.rooms import AuthorityRooms, PlatformRooms
from psishare.mandates.budget import Budget
from psishare.mandates.case_reference import CaseReference
from psishare.mandates.draft import draft
from psishare.mandates.envelope import new_envelope, sign_envelope
from psishare.mandates.policy import Policy
from psishare.parties.home import Home
from psishare.parties.peers import Peers
from psishare.psi import suite
from psishare.psi.suite import Output
from psishare.transport.channel import Caller
from psishare.transport.memory import MemoryChannel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from psishare.audit.log import Log
    from psishare.mandates.mandate import Mandate
    from psishare.transport.channel import Channel, Responder

PLATFORM, AUTHORITY = "tele.example", "police.example"
ISSUER, VALIDATOR = "prosecutor.example", "court.example"
OPERATOR = "second.tele.example"
RULESET = Ruleset(version=1, digest="ab" * 32)
NAME, KIND = "customers", "phone"


def column(values: Iterable[bytes]) -> pa.Array:
    return pa.array(list(values), pa.large_binary())


@dataclass
class Side:
    """One party that keeps a log."""

    home: Home
    peers: Peers
    log: Log
    register: Register


class Stage:
    """Five homes that have pinned each other.

    Args:
        path: an empty folder.
    """

    def __init__(self, path: Path) -> None:
        self._opened = contextlib.ExitStack()
        roles = {
            PLATFORM: "platform",
            AUTHORITY: "authority",
            ISSUER: "issuer",
            VALIDATOR: "issuer",
            OPERATOR: "operator",
        }
        self.homes = {
            name: init_party(path / name, party_id=name, role=role, display_name=name)
            for name, role in roles.items()
        }
        self.pin(PLATFORM, AUTHORITY)
        self.pin(PLATFORM, ISSUER, "issuer")
        self.pin(PLATFORM, VALIDATOR, "validator")
        self.pin(PLATFORM, OPERATOR, "approver")
        self.pin(AUTHORITY, PLATFORM)
        self.platform = self.side(PLATFORM)
        self.authority = self.side(AUTHORITY)

    def close(self) -> None:
        """Free what any side that was opened here holds."""
        self._opened.close()

    def pin(self, at: str, whom: str, *trusted_as: str) -> None:
        """Let one party pin another, as two people would after reading words to each other."""
        card = self.homes[whom].card
        Peers(self.homes[at].peers_path).add(
            self.homes[whom].export_card(),
            fingerprint=card.fingerprint(),
            trusted_as=frozenset(trusted_as),
        )

    def side(self, name: str) -> Side:
        """Open a party as a process of its own would."""
        home = self.homes[name]
        register = Register(home.state_path, home.path / "run")
        self._opened.callback(register.close)
        return Side(home, Peers(home.peers_path), open_log(home), register)

    def mandate(self, **changes: Any) -> Mandate:
        """Draft a mandate that allows everything the tests ask for, but for the changes."""
        fields: dict[str, Any] = {
            "issuer": ISSUER,
            "validator": VALIDATOR,
            "validator_role": "judge",
            "authority": AUTHORITY,
            "platform": PLATFORM,
            "kinds": [KIND],
            "outputs": ["matches", "count", "both"],
            "max_rows_per_exchange": 1_000_000,
            "max_rows_total": 10_000_000,
            "max_exchanges": 1_000,
            "jurisdiction": "XX",
            "legal_basis": "Code of criminal procedure, section 100",
            "purpose": "to find accounts of suspects",
            "case": CaseReference.new("case 1"),
            "not_before": now() - timedelta(days=1),
            "not_after": now() + timedelta(days=1),
            "now": now(),
        }
        return draft(**(fields | changes))

    def envelope(self, **changes: Any) -> bytes:
        """Return a mandate that issuer and validator have signed."""
        return self.signed(self.mandate(**changes))

    def signed(self, mandate: Mandate) -> bytes:
        """Return a mandate's envelope with both signatures."""
        data = new_envelope(mandate)
        for name in (ISSUER, VALIDATOR):
            data = sign_envelope(data, self.homes[name].log_signer(), party=name)
        return data

    def encode(
        self, values: Iterable[bytes], *, name: str = NAME, n_max: int = 2**24
    ) -> EncodedOffering:
        """Evaluate and publish a dataset."""
        home, log = self.homes[PLATFORM], self.platform.log
        store = DatasetStore(home.datasets_path, public_key=home.card.log_key, vault=home.vault)
        parameters = Parameters(
            platform=PLATFORM,
            ruleset=ManifestRuleset(version=RULESET.version, digest=RULESET.digest),
            n_max=n_max,
            max_query=2**20,
            created=write_time(datetime.now(UTC)),
        )
        with store.encode(
            name,
            KIND,
            "",
            lambda skip: [column(values)][skip:],
            parameters=parameters,
            signer=home.log_signer(),
            progress=lambda _rows: None,
        ) as epoch:
            epoch.note_entry(Journal(log).published(epoch.signed))
        return EncodedOffering(store.open(name))

    def listing(self, values: Iterable[bytes], *, name: str = NAME) -> ListOffering:
        """Prepare a list for ``ecdh`` and ``openmined``."""
        return ListOffering.of(column(values), name=name, kind=KIND, namespace="", ruleset=RULESET)

    def rooms(self, *, policy: Policy | None = None) -> PlatformRooms:
        """Return the platform's rooms."""
        side = self.platform
        budget = self._opened.enter_context(Budget(side.home.state_path))
        return PlatformRooms(
            home=side.home,
            peers=side.peers,
            log=side.log,
            budget=budget,
            register=side.register,
            policy=policy or Policy(),
        )

    def responder(
        self, *offerings: Offering, policy: Policy | None = None, **options: Any
    ) -> Platform:
        """Return the platform's side."""
        return Platform(self.rooms(policy=policy), offerings, **options)

    def caller(self, name: str = AUTHORITY) -> Caller:
        """Return what TLS would say of a party's connection."""
        return Caller(self.homes[name].tls_identity().certificate_sha256)

    def channel(self, responder: Responder) -> MemoryChannel:
        """Connect the authority to the platform, in memory."""
        return MemoryChannel(responder, self.caller(), PLATFORM)

    def asker(self, channel: Channel, side: Side | None = None) -> Authority:
        """Return the authority's side."""
        side = side or self.authority
        rooms = AuthorityRooms(side.home, side.peers, side.log, side.register)
        return Authority(rooms, channel, side.peers.get(PLATFORM), lambda *_: None)

    def ask(self, values: Iterable[bytes], **changes: Any) -> Ask:
        """Return what is to be asked; oprf and matches unless changed."""
        fields: dict[str, Any] = {
            "identifiers": column(values),
            "kind": KIND,
            "namespace": "",
            "ruleset": RULESET,
            "dataset": NAME,
            "protocol": suite.Protocol.OPRF,
            "output": Output.MATCHES,
            "mandate": self.envelope() if "mandate" not in changes else None,
            "operator": "operator 1",
            "frame_rows": 7,
        }
        return Ask(**(fields | changes))

    def exchange(self, responder: Responder, ask: Ask) -> Outcome:
        """Run one exchange in memory."""
        return self.asker(self.channel(responder)).exchange(ask)

    def entries(self, name: str) -> list[str]:
        """Return the types of a party's log entries, from the disk."""
        from psishare.audit.entry import parse_entry  # noqa: PLC0415

        log = self.side(name).log
        return [parse_entry(data).type for data in log.entries(0, log.size)]


class OpenedStage(Stage):
    """A stage whose homes are there already, as a process that starts finds them.

    Args:
        path: the folder of a stage.
    """

    def __init__(self, path: Path) -> None:
        self._opened = contextlib.ExitStack()
        names = (PLATFORM, AUTHORITY, ISSUER, VALIDATOR, OPERATOR)
        self.homes = {name: Home.open(path / name) for name in names}
        self.platform = self.side(PLATFORM)
        self.authority = self.side(AUTHORITY)


class CopiedStage(OpenedStage):
    """A stage whose homes are copies of homes that were made once.

    Args:
        template: the folder of a stage.
        path: an empty folder.
    """

    def __init__(self, template: Path, path: Path) -> None:
        for folder in template.iterdir():
            shutil.copytree(folder, path / folder.name)
        super().__init__(path)
