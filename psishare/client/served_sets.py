"""What a platform serves, opened anew at each reload: datasets, and lists from their files.

Promises: a list that cannot be read again changes nothing; a list whose files are as they were is not
read a second time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psishare.client.input_table import input_table
from psishare.client.served_list import ListSource, ServedList, encoded
from psishare.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from psishare.exchange.offering import Offering
    from psishare.exchange.progress import Progress
    from psishare.parties.home import Home
    from psishare.tables import Table


class ServedSets:
    """Datasets and lists that a platform serves, by the names that were given.

    Args:
        datasets: names of its datasets, or folders of epochs.
        lists: lists served with ``ecdh`` and ``openmined``.
        keeps_files: whether the lists' files are kept open, because their rows are read again.

    Raises:
        ConfigError: ``nothing_to_serve``.
        InputError: a list cannot be opened.
    """

    def __init__(
        self, datasets: Iterable[Path | str], lists: Iterable[ListSource], *, keeps_files: bool
    ) -> None:
        self._datasets = list(datasets)
        self._keeps_files = keeps_files
        self._sources = [ListSource(self._table(each.data), each.key, each.name) for each in lists]
        self._lists: list[ServedList] = []
        if not self._datasets and not self._sources:
            raise ConfigError(
                "there is nothing to serve",
                mend="Name a dataset with --dataset, or a list with --data, --key and --name.",
                reason="nothing_to_serve",
            )

    def open(self, home: Home, progress: Progress) -> list[Offering]:
        """Return the newest epoch of each dataset, and each list as its files are now.

        Args:
            home: the platform's.
            progress: called as lists are read.

        Raises:
            ConfigError: a dataset is not to be had; or ``nothing_to_serve``, a list has lost every
                identifier that it had.
            InputError: a list cannot be read.
        """
        offerings: list[Offering] = [encoded(home, name) for name in self._datasets]
        if self._lists:
            read = [each.again(progress) for each in self._lists]
        else:
            read = [
                ServedList.read(source, progress, keeps_files=self._keeps_files)
                for source in self._sources
            ]
        self._lists = read
        return [*offerings, *read]

    def _table(self, data: Any) -> Table:
        table = input_table(data)
        if not self._keeps_files or table.origin is None:
            return table
        return table.origin.open(keep=True)
