"""A process that runs one exchange over a stage on the disk and is killed at a chosen step.

Usage: exchange_to_die_in.py FOLDER STEP [PROTOCOL]. STEP names a function of psishare as
``module:Class.method:before`` or ``:after``, optionally ``:N`` for the N-th time; the process ends
there as a kill would end it.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from hostile_exchange import OURS, THEIRS
from stage import NAME, PLATFORM, OpenedStage

from psishare.datasets.store import DatasetStore
from psishare.exchange.offering import EncodedOffering
from psishare.psi.suite import Output, Protocol

KILLED = 9


def kill_at(step: str) -> None:
    module_name, path, when, *nth = step.split(":")
    *owner, name = path.split(".")
    holder: Any = importlib.import_module(module_name)
    for part in owner:
        holder = getattr(holder, part)
    honest = getattr(holder, name)
    left = [int(nth[0]) if nth else 1]

    def fatal(*args: Any, **values: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and when == "before":
            os._exit(KILLED)
        result = honest(*args, **values)
        if left[0] == 0:
            os._exit(KILLED)
        return result

    setattr(holder, name, fatal)


def main() -> None:
    folder, step, protocol = Path(sys.argv[1]), sys.argv[2], Protocol(sys.argv[3])
    stage = OpenedStage(folder)
    kill_at(step)
    mandate = (folder / "mandate").read_bytes()
    if protocol is Protocol.OPRF:
        home = stage.homes[PLATFORM]
        store = DatasetStore(home.datasets_path, public_key=home.card.log_key, vault=home.vault)
        platform = stage.responder(EncodedOffering(store.open(NAME)))
        ask = stage.ask(OURS, mandate=mandate)
    else:
        platform = stage.responder(stage.listing(THEIRS))
        output = Output.BOTH if protocol is Protocol.ECDH else Output.MATCHES
        ask = stage.ask(OURS, protocol=protocol, output=output, mandate=mandate)
    stage.asker(stage.channel(platform)).exchange(ask)


if __name__ == "__main__":
    main()
