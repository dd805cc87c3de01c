"""Counts what a platform computes in the group, whichever protocol, so that a refusal can be held to none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psishare.psi.ecdh import EcdhPlatform
from psishare.psi.openmined import OpenminedPlatform
from psishare.psi.oprf import OprfPlatform

if TYPE_CHECKING:
    import pytest


def elements_computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the number of elements whenever a platform's side computes.

    Evaluations of request frames are counted, and the blinding of the platform's own list.
    """
    operations: list[int] = []
    for kind in (OprfPlatform, EcdhPlatform, OpenminedPlatform):
        _count_evaluations(monkeypatch, kind, operations)
    blind: Any = vars(EcdhPlatform)["elements"]

    def elements(platform: EcdhPlatform) -> Any:
        found = blind.fget(platform)
        operations.append(len(found))
        return found

    monkeypatch.setattr(EcdhPlatform, "elements", property(elements))
    return operations


def _count_evaluations(
    monkeypatch: pytest.MonkeyPatch, kind: type[Any], operations: list[int]
) -> None:
    evaluate = kind.evaluate

    def counting(platform: Any, frame: Any) -> Any:
        operations.append(len(frame))
        return evaluate(platform, frame)

    monkeypatch.setattr(kind, "evaluate", counting)
