"""An air gap on a stage: both sides by files, each step as a process of its own would do it."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stage import AUTHORITY, NAME, PLATFORM, Stage, column

from psishare.exchange.document import now
from psishare.exchange.offline_authority import OfflineAuthority
from psishare.exchange.offline_platform import Answered, OfflinePlatform
from psishare.exchange.parcels import Parcels
from psishare.exchange.rooms import AuthorityRooms
from psishare.transport.parcel import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    import pyarrow as pa

    from psishare.exchange.ask import Ask
    from psishare.exchange.authority import Outcome
    from psishare.exchange.offering import Offering
    from psishare.transport.parcel import Parcel


def quiet(_step: str, _done: int, _total: int) -> None:
    """Report nothing."""


class AirGap:
    """Both sides of a stage, with no network between them.

    Args:
        stage: four homes that have pinned each other.
        path: an empty folder, for what the courier carries.
        offerings: what the platform serves; more can be given step by step.
    """

    def __init__(self, stage: Stage, path: Path, *offerings: Offering) -> None:
        self.stage = stage
        self.path = path
        self.offerings = offerings
        self.matched: list[pa.Array] = []

    # The authority.

    def authority(self) -> OfflineAuthority:
        side = self.stage.authority
        rooms = AuthorityRooms(side.home, side.peers, side.log, side.register)
        return OfflineAuthority(rooms, side.peers.get(PLATFORM), quiet)

    @contextlib.contextmanager
    def taken(self, path: Path, kind: Kind) -> Iterator[Parcel]:
        side = self.stage.authority
        rooms = AuthorityRooms(side.home, side.peers, side.log, side.register)
        with Parcels(rooms).take(path, kind, "platform") as parcel:
            yield parcel

    def request(self, ask: Ask, *, expires: datetime | None = None) -> Path:
        return self.authority().request(ask, expires=expires or now() + timedelta(days=30))

    def finish(self, values: Iterable[bytes], path: Path) -> Path:
        with self.taken(path, Kind.ANSWER) as parcel:
            return self.authority().finish(column(values), parcel)

    def release(self, values: Iterable[bytes], path: Path) -> Outcome:
        with self.taken(path, Kind.CONFIRMATION) as parcel:
            return self.authority().release(column(values), parcel)

    def synchronise(self, path: Path, mandate: bytes) -> None:
        with self.taken(path, Kind.DATASET) as parcel:
            self.authority().synchronise(parcel, mandate)

    # The platform.

    @contextlib.contextmanager
    def platform(self, *offerings: Offering, **options: Any) -> Iterator[OfflinePlatform]:
        """Make the platform's side as a process that starts does, and leave it as one that ends."""
        responder = self.stage.responder(
            *(offerings or self.offerings),
            matched=lambda _id, _name, indices: self.matched.append(indices),
            **options,
        )
        rooms = responder._rooms
        try:
            yield OfflinePlatform(rooms, responder, quiet)
        finally:
            responder.stop()
            rooms.budget.close()

    def export(self, mandate: bytes) -> Path:
        path = self.path / "dataset.parcel"
        with self.platform() as platform:
            platform.export(NAME, mandate, AUTHORITY, path)
        return path

    def answer(self, path: Path, **options: Any) -> Answered:
        with self.platform(**options) as platform:
            return platform.answer(path)

    def confirm(self, path: Path, **options: Any) -> Answered:
        with self.platform(**options) as platform:
            return platform.confirm(path)

    # All of it.

    def synchronised(self, ask: Ask) -> None:
        """Have the dataset over, as a courier brings it."""
        self.synchronise(self.export(ask.mandate), ask.mandate)

    def exchange(self, ask: Ask) -> Outcome:
        """Carry one exchange through all of its steps."""
        values = ask.identifiers.to_pylist()
        answer = self.answer(self.request(ask)).parcel
        return self.release(values, self.confirm(self.finish(values, answer)).parcel)
