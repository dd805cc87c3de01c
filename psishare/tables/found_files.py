"""Finds the files of a table: one, those of a folder, those that a pattern names, standard input."""

from __future__ import annotations

import glob
from pathlib import Path

from psishare.errors import InputError
from psishare.tables.data_file import STANDARD_INPUT, DataFile
from psishare.tables.format import TableFormat, choose_encoded

_PATTERN = frozenset("*?[")


def found_files(
    path: Path, name: str | None, *, keep: bool = False
) -> list[tuple[DataFile, TableFormat]]:
    """Return the files behind a path, sorted by path, each with its format.

    Args:
        path: a file; a folder, whose files are read but for those with a dot in front; a pattern with
            ``*``, ``?``, ``[...]`` or ``**``, where no file has that very name; ``-`` for standard
            input.
        name: the format of all of them; None: by each one's suffix.
        keep: whether they are kept open, and can be read when others lie in their place.

    Raises:
        InputError: ``input_unreadable`` or ``format_unknown``.
    """
    if str(path) == STANDARD_INPUT:
        if name is None:
            raise InputError(
                "standard input has no suffix that would say its format",
                mend="Name the format, such as csv or jsonl.",
                reason="format_unknown",
            )
        format_, compression = choose_encoded(path, name)
        return [(DataFile.of_standard_input(compression), format_)]
    return [_found(each, name, keep=keep) for each in names_behind(path)]


def names_behind(path: Path) -> list[Path]:
    """Return the paths of the files behind a path, sorted.

    Raises:
        InputError: ``input_unreadable``: there are none, or a folder is among them.
    """
    if path.is_dir():
        names = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    elif _PATTERN & set(str(path)) and not path.exists():
        names = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207  absolute patterns
        names = [each for each in names if not each.is_dir()]
    else:
        return [path]
    if not names or any(each.is_dir() for each in names):
        raise InputError(
            f"{path} has {'a folder in it' if names else 'no files'}",
            mend="Give a folder of files alone, or a pattern such as lists/**/*.csv.",
            reason="input_unreadable",
        )
    return names


def _found(path: Path, name: str | None, *, keep: bool) -> tuple[DataFile, TableFormat]:
    format_, compression = choose_encoded(path, name)
    return (DataFile.kept if keep else DataFile.at)(path, compression), format_
