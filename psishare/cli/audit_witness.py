"""``psishare audit witness``: the newest checkpoint taken to the witnesses of a policy."""

from pathlib import Path
from typing import Annotated

import typer

import psishare
from psishare.cli.console import number, print_json, say, say_fields
from psishare.cli.file import read
from psishare.cli.option import Home, Json
from psishare.errors import ExitCode
from psishare.evidence.quorum import Quorum
from psishare.parties.home import Home as PartyHome

EXAMPLE = "psishare audit witness --home tele --policy witnesses.policy"


def witness(
    *,
    home: Home,
    policy: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Whom to ask, and who must cosign (C2SP tlog-policy)."),
    ],
    as_json: Json = False,
) -> None:
    """Have witnesses cosign this log's newest checkpoint, and keep their cosignatures.

    The policy names each with its key and URL. It speaks C2SP's tlog-witness, over https. Ends with 0 where
    the checkpoint has the policy's quorum, and with 8 where it lacks it; run it again then.
    """
    done = psishare.ask_witnesses(PartyHome.open(home), Quorum(read(policy, "the policy")))
    if as_json:
        print_json(
            {
                "tree_size": done.tree_size,
                "quorum": done.has_quorum,
                "witnesses": [
                    {
                        "names": list(each.names),
                        "url": each.url,
                        "cosigned": each.error is None,
                        "reason": None if each.error is None else each.error.reason,
                    }
                    for each in done.witnesses
                ],
            }
        )
    else:
        for each in done.witnesses:
            told = "cosigned" if each.error is None else each.error.diagnostics()
            say_fields({" and ".join(each.names): told})
        has = "has" if done.has_quorum else "lacks"
        say(f"The checkpoint of {number(done.tree_size)} entries {has} the policy's quorum.")
    if not done.has_quorum:
        raise typer.Exit(ExitCode.AUDIT)
