"""The reference is complete: every public name says what it guarantees, takes, returns and raises."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

import psishare
from psishare import client, errors

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = sorted({*psishare.__all__, *client.__all__})
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):$", re.MULTILINE)
UNIT = re.compile(
    r"(second|row|byte|item|day|MiB|identifier|exchange|entr|port|percent|number of|how many)"
)
NUMERIC = {"int", "float", "int | None", "float | None"}
DTYPE = re.compile(r"``(bool|binary|large_binary|uint64|pyarrow\.\w+|int32)``|all columns|schema")
NEVER_RAISE = {
    "AsyncParty.close",
    "AsyncParty.warnings",
    "AsyncServer.drain",
    "AsyncServer.stop",
    "AsyncSession.close",
    "Cancellation.cancel",
    "Cancellation.watching",
    "Limits.of",
    "Party.close",
    "Party.warnings",
    "Passphrase.encode",
    "Server.drain",
    "Server.stop",
    "Session.close",
    "SignedMandate.values",
    "Table.stamps",
    "certificate_warnings",
    "kind_names",
}
"""What frees things, or only reads what is installed."""


def public(name: str) -> Any:
    return getattr(client, name)


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the methods and properties of a class that are its users' business."""
    for name, value in vars(kind).items():
        if name.startswith("_") and name != "__arrow_c_stream__":
            continue
        if isinstance(value, (classmethod, staticmethod)):
            yield name, value.__func__
        elif inspect.isfunction(value) or isinstance(value, property):
            yield name, value


def callables() -> Iterator[tuple[str, Any]]:
    for name in NAMES:
        value = public(name)
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value) and value.__module__.startswith("psishare"):
            for member, method in members(value):
                if not isinstance(method, property):
                    yield f"{name}.{member}", method


def properties() -> Iterator[tuple[str, property]]:
    for name in NAMES:
        value = public(name)
        if inspect.isclass(value):
            for member, found in members(value):
                if isinstance(found, property):
                    yield f"{name}.{member}", found


def classes() -> list[type]:
    return [public(name) for name in NAMES if inspect.isclass(public(name))]


def sections(value: Any) -> dict[str, str]:
    """Return a docstring's sections by name; the summary under the empty name."""
    parts = SECTION.split(inspect.cleandoc(value.__doc__ or ""))
    return dict(zip(["", *parts[1::2]], [parts[0], *parts[2::2]], strict=True))


def described(section: str) -> dict[str, str]:
    """Return what a section says of each name: entries stand at one level, and go on below it."""
    found: dict[str, str] = {}
    name = ""
    for line in textwrap.dedent(section.strip("\n")).splitlines():
        entry = re.match(r"([\w, ]+): (.*)", line)
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif name and line.startswith("    "):
            found[name] += " " + line.strip()
    return found


CALLABLES = dict(callables())
PROPERTIES = dict(properties())


def test_both_faces_have_the_same_names() -> None:
    assert set(psishare.__all__) <= set(client.__all__)
    for name in psishare.__all__:
        assert getattr(psishare, name) is public(name)


@pytest.mark.parametrize("name", ["Party", "Session", "Server"])
def test_whatever_blocks_has_a_coroutine_that_does_not(name: str) -> None:
    blocking, other = public(name), public(f"Async{name}")
    methods = {member for member, value in members(blocking) if not isinstance(value, property)}
    assert methods <= vars(other).keys()


@pytest.mark.parametrize("name", NAMES)
def test_every_name_begins_with_one_sentence(name: str) -> None:
    summary = sections(public(name))[""].strip().split("\n\n")[0]
    assert summary.endswith((".", "::")), name


@pytest.mark.parametrize("name", CALLABLES)
def test_every_argument_is_described(name: str) -> None:
    value = CALLABLES[name]
    parameters = [p for p in inspect.signature(value).parameters if p not in {"self", "cls"}]
    told = described(sections(value).get("Args", ""))
    assert list(told) == parameters


@pytest.mark.parametrize("name", CALLABLES)
def test_every_number_has_a_unit(name: str) -> None:
    value = CALLABLES[name]
    told = described(sections(value).get("Args", ""))
    for parameter in inspect.signature(value).parameters.values():
        if str(parameter.annotation) in NUMERIC:
            assert UNIT.search(told[parameter.name]), f"{name}: {parameter.name}"


@pytest.mark.parametrize("name", CALLABLES)
def test_what_is_returned_is_described(name: str) -> None:
    value = CALLABLES[name]
    returned = str(inspect.signature(value).return_annotation)
    if returned == "None":
        return
    found = sections(value)
    text = found.get("Returns", "") + (found[""] if found[""].startswith("Return") else "")
    assert text
    if "pa." in returned:
        assert DTYPE.search(text), name


@pytest.mark.parametrize("name", CALLABLES)
def test_what_is_raised_is_described_with_classes_that_exist(name: str) -> None:
    found = sections(CALLABLES[name])
    if name in NEVER_RAISE:
        assert "Raises" not in found
        return
    told = described(found["Raises"])
    assert told
    for names in told:
        for error in names.split(", "):
            assert hasattr(errors, error) or error == "BaseException", error


@pytest.mark.parametrize("name", PROPERTIES)
def test_every_property_is_described(name: str) -> None:
    found = PROPERTIES[name]
    assert found.fget is not None
    assert sections(found)[""].strip().endswith("."), name
    if "pa." in str(inspect.signature(found.fget).return_annotation):
        assert DTYPE.search(found.__doc__ or ""), name


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_every_attribute_is_described(kind: type) -> None:
    told = set(described(sections(kind).get("Attributes", "")))
    if dataclasses.is_dataclass(kind):
        have = {field.name for field in dataclasses.fields(kind)}
    else:
        have = assigned(kind)
    assert {name for name in have if not name.startswith("_")} <= told


def assigned(kind: type) -> set[str]:
    """Return the names that a class's own ``__init__`` gives to the object."""
    init = vars(kind).get("__init__")
    if init is None:
        return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
