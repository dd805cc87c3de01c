"""A list that a platform serves, and its own matches written out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psishare.datasets.store import DatasetStore, open_dataset, require_name
from psishare.exchange.offering import EncodedOffering, ListOffering
from psishare.tables import write_matches

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from psishare.exchange.prepared_list import KeyColumn, PreparedList
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


def listed(source: ListSource, prepared: PreparedList) -> ListOffering:
    """Return a prepared list as what a platform offers."""
    require_name(source.name)
    return ListOffering.of(
        prepared.distinct,
        name=source.name,
        kind=source.key.kind,
        namespace=source.key.namespace,
        ruleset=source.key.ruleset,
    )


def matches_writer(
    own: dict[str, tuple[ListSource, PreparedList]], out: Path | None
) -> Callable[[bytes, str, pa.Array], None] | None:
    """Return what writes the platform's own matches, a file an exchange (output ``both``)."""
    if out is None:
        return None

    def write(exchange_id: bytes, name: str, matched: pa.Array) -> None:
        source, prepared = own[name]
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = out / f"{exchange_id.hex()}.csv"
        write_matches(source.data, prepared.mask(matched), path, overwrite=False)

    return write
