"""A list that a platform serves, and its own matches written out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from psishare.datasets.store import DatasetStore, open_dataset, require_name
from psishare.errors import ConfigError, InternalError
from psishare.exchange.offering import EncodedOffering, ListOffering
from psishare.exchange.prepared_list import prepare
from psishare.exchange.progress import rows_read
from psishare.tables import write_matches

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from psishare.exchange.offering import Offering
    from psishare.exchange.prepared_list import KeyColumn, PreparedList
    from psishare.exchange.progress import Progress
    from psishare.parties.home import Home


@dataclass(frozen=True, slots=True)
class ListSource:
    """A list that a platform serves with ``ecdh`` and ``openmined``.

    Attributes:
        data: a table, the path of its file, or anything with the Arrow PyCapsule interface.
        key: its key column.
        name: the dataset's name in offers and mandates.
    """

    data: Any
    key: KeyColumn
    name: str


def encoded(home: Home, dataset: Path | str) -> EncodedOffering:
    """Return a dataset of a platform, by its name or the folder of one of its epochs, as it is served.

    Raises:
        ConfigError: there is none, or it is revoked or its key destroyed.
    """
    folder = Path(dataset)
    if folder.is_dir():
        return EncodedOffering(open_dataset(folder, home.card.log_key, home.vault))
    store = DatasetStore(home.datasets_path, public_key=home.card.log_key, vault=home.vault)
    return EncodedOffering(store.open(str(dataset)))


@dataclass(frozen=True)
class ServedList(ListOffering):
    """A list as it was read: what is offered, and the rows that it came from.

    Attributes:
        source: the table that was read.
        prepared: what joins its rows to its identifiers.
        keeps_files: whether its files are kept open: its rows are read again when an exchange with
            output ``both`` has ended, and others may lie in their place by then.
    """

    source: ListSource = field(kw_only=True)
    prepared: PreparedList = field(kw_only=True)
    keeps_files: bool = field(kw_only=True)

    @classmethod
    def read(cls, source: ListSource, progress: Progress, *, keeps_files: bool) -> Self:
        """Read a list.

        Args:
            source: its ``data`` is a ``Table``.
            progress: called as rows are read.
            keeps_files: whether the files are kept open whenever they are read again.

        Raises:
            ConfigError: the name is none.
            InputError: it cannot be read.
        """
        require_name(source.name)
        prepared = prepare(source.data, source.key, rows_read(progress))
        return cls.of(
            prepared.distinct,
            name=source.name,
            kind=source.key.kind,
            namespace=source.key.namespace,
            ruleset=source.key.ruleset,
            source=source,
            prepared=prepared,
            keeps_files=keeps_files,
        )

    def again(self, progress: Progress) -> ServedList:
        """Return the list as its files are now: itself, where they are as they were.

        A table in memory, standard input too, cannot be read again and stays as it is.

        Raises:
            ConfigError: ``nothing_to_serve``: it has lost every identifier that it had.
            InputError: it cannot be read.
        """
        table = self.source.data
        if table.origin is None:
            return self
        now = table.origin.open(keep=self.keeps_files)
        if now.stamps() == table.stamps():
            return self
        read = ServedList.read(
            ListSource(now, self.source.key, self.name), progress, keeps_files=self.keeps_files
        )
        if self.n_items and not read.n_items:
            raise ConfigError(
                f"the list {self.name}, read again, holds no identifier of kind {self.kind}:"
                f" {read.prepared.n_rejected} of its {read.prepared.n_rows} rows are rejected",
                mend="Put a whole list in its place, in one move (mv), then reload.",
                reason="nothing_to_serve",
            )
        return read


def matches_writer(out: Path | None) -> Callable[[bytes, Offering, pa.Array], None] | None:
    """Return what writes the platform's own matches, a file an exchange (output ``both``)."""
    if out is None:
        return None

    def write(exchange_id: bytes, offering: Offering, matched: pa.Array) -> None:
        if not isinstance(offering, ServedList):
            raise InternalError(
                f"{offering.name} is no list of this platform",
                mend="Report this, with the version.",
            )
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = out / f"{exchange_id.hex()}.csv"
        mask = offering.prepared.mask(matched)
        write_matches(offering.source.data, mask, path, overwrite=False)

    return write
