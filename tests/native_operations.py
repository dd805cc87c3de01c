"""Counting the operations on group elements that a piece of code really makes.

Calls into the native extension, and into the package that `openmined` uses, are seen by the interpreter's
own profiling hook, so that nothing is replaced and nothing can be passed by.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATIONS = frozenset(
    {
        # psishare._native
        *("blind", "blind_evaluate", "evaluate", "finalize", "fingerprints", "multiply"),
        *("blind_rfc9497", "blind_with", "prove_with", "one_way_map"),
        # private_set_intersection
        *("CreateRequest", "ProcessRequest", "CreateSetupMessage", "GetIntersection"),
    }
)
BY_PLATFORM = frozenset({"blind_evaluate", "evaluate", "fingerprints", "ProcessRequest"})


@contextlib.contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the group operations made within, by name, in this thread and those that it starts."""
    found: Counter[str] = Counter()

    def hook(_frame: Any, event: str, called: Any) -> None:
        if event == "c_call" and getattr(called, "__name__", "") in OPERATIONS:
            found[called.__name__] += 1

    before = sys.getprofile()
    threading.setprofile(hook)
    sys.setprofile(hook)
    try:
        yield found
    finally:
        sys.setprofile(before)
        threading.setprofile(before)
