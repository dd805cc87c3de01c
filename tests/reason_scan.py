"""Which reasons the code raises, with which class of errors: read from its syntax, without running it.

An error is made by calling its class; its reason is the keyword ``reason`` or the class's own. Where
that is a parameter of the function around it, the function's callers are looked at in turn. What
cannot be worked out is listed, so that nothing is passed over.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from psishare import errors
from psishare.errors import PsishareError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, PsishareError)
}
RERAISED = re.compile(r"(error|failure)\.reason|_reason\(.*\)")
"""An error that is raised again in other words keeps its reason, and was counted where it began."""


@dataclass
class Raised:
    """What was found: pairs of code and class name, and places that say neither."""

    pairs: set[tuple[str, str]] = field(default_factory=set)
    unclear: list[str] = field(default_factory=list)


def raised() -> Raised:
    """Return every reason that a module of psishare or the native extension raises."""
    found = Raised()
    for path in sorted((ROOT / "psishare").rglob("*.py")):
        if path.name != "wire_pb2.py":
            _Module(path, found).scan()
    bindings = (ROOT / "protocols/bindings/src/fault.rs").read_text(encoding="utf-8")
    found.pairs |= {
        (code, "ProtocolError") for code in re.findall(r'Some\("([a-z_]+)"\)', bindings)
    }
    found.pairs |= {(kind.default_reason, kind.__name__) for kind in _of_bindings(bindings)}
    return found


def _of_bindings(text: str) -> Iterator[type[PsishareError]]:
    for name in set(re.findall(r'"(\w+Error)"', text)):
        yield CLASSES[name]


class _Module:
    def __init__(self, path: Path, found: Raised) -> None:
        self.path = path
        self.found = found
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.parents = {
            child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)
        }
        self.calls: dict[str, list[ast.Call]] = defaultdict(list)
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                self.calls[_called(node)].append(node)
        self.constants = {
            target.id: node.value
            for node in self.tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def scan(self) -> None:
        for name, calls in list(self.calls.items()):
            for call in calls:
                if name in CLASSES:
                    self._made(call, name)
                elif name == "write_durably":
                    self._written(call)
                elif name == "Rule":
                    self._ruled(call)

    def _made(self, call: ast.Call, kind: str) -> None:
        reason = _keyword(call, "reason")
        if reason is None:
            self.found.pairs.add((CLASSES[kind].default_reason, kind))
            return
        for code in self._values(reason, call):
            self.found.pairs.add((code or CLASSES[kind].default_reason, kind))

    def _written(self, call: ast.Call) -> None:
        """``write_durably`` raises the class that it is given."""
        kind = _keyword(call, "error")
        if isinstance(kind, ast.Name) and kind.id in CLASSES:
            self._made(call, kind.id)
        elif self.path.name != "durable_file.py":
            self._unclear(call)

    def _ruled(self, call: ast.Call) -> None:
        """A rule that does not pass is raised as a refusal with its reason, the second argument."""
        for code in self._values(call.args[1], call):
            self.found.pairs.add((code, "AuthorisationError"))

    def _values(self, expression: ast.expr, at: ast.AST) -> set[str]:
        """Return the strings that an expression may be."""
        match expression:
            case ast.Constant(value=str() as text):
                return {text}
            case ast.Constant(value=None):
                return {""}
            case ast.IfExp():
                return self._values(expression.body, at) | self._values(expression.orelse, at)
            case ast.JoinedStr():
                return self._joined(expression, at)
            case ast.Name(id=name) if name in self.constants:
                return self._values(self.constants[name], at)
            case ast.Name(id=name):
                return self._of_parameter(name, at)
            case ast.Attribute(value=ast.Name(id="rule"), attr="reason"):
                # Where the rule is made, in whichever module, its reason is read.
                return set()
        if not RERAISED.fullmatch(ast.unparse(expression)):
            self._unclear(at)
        return set()

    def _joined(self, text: ast.JoinedStr, at: ast.AST) -> set[str]:
        found = {""}
        for part in text.values:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            found = {a + b for a in found for b in self._values(inner, at)}
        return found

    def _of_parameter(self, name: str, at: ast.AST) -> set[str]:
        """Return what the callers of the function around a node give for one of its parameters."""
        function = self._function(at)
        if function is None:
            self._unclear(at)
            return set()
        parameters = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
        if parameters[:1] in (["self"], ["cls"]):
            parameters = parameters[1:]
        by_keyword = [a.arg for a in function.args.kwonlyargs]
        if name not in {*parameters, *by_keyword}:
            self._unclear(at)
            return set()
        found = set()
        for call in self.calls[function.name]:
            given = _keyword(call, name)
            if given is None and name in parameters and parameters.index(name) < len(call.args):
                given = call.args[parameters.index(name)]
            if given is None:
                given = _default(function, name)
            if given is None:
                self._unclear(call)
            else:
                found |= self._values(given, call)
        return found

    def _function(self, node: ast.AST) -> ast.FunctionDef | None:
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, ast.FunctionDef):
                return node
        return None

    def _unclear(self, node: ast.AST) -> None:
        place = f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        self.found.unclear.append(f"{place}: {ast.unparse(node)}")


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
    return ""


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((k.value for k in call.keywords if k.arg == name), None)


def _default(function: ast.FunctionDef, name: str) -> ast.expr | None:
    arguments = function.args
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if argument.arg == name:
            return default
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = dict(
        zip((a.arg for a in reversed(positional)), reversed(arguments.defaults), strict=False)
    )
    return defaults.get(name)
