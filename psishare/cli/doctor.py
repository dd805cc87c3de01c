"""``psishare doctor``: what is wrong with a home and its surroundings, and how to mend it."""

from typing import Annotated

import typer

from psishare.cli.console import print_json, say, say_table
from psishare.cli.group import example, new_command
from psishare.cli.option import Home, Json

app = new_command()


@app.command(
    epilog=example(
        "psishare doctor --home tele",
        "psishare doctor --home police \\",
        "    --peer tele.example --address tele.example:7447",
    )
)
def doctor(
    *,
    home: Home,
    peer: Annotated[
        str | None, typer.Option(metavar="ID", help="A pinned platform to reach, with --address.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where that platform listens.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How long each call to it may take.")
    ] = 10.0,
    as_json: Json = False,
) -> None:
    """Look what is wrong with a home folder, its machine and a peer, and say how to mend it.

    Looks at disk, home, files, keys, certificates, peers, clock, log, state, exchanges, settings, policy, datasets and a platform's reachability. Exit code 0: nothing keeps commands from working.
    """
    from psishare.client.doctor import Level, examine  # noqa: PLC0415  help must not load it

    if (peer is None) != (address is None):
        raise typer.BadParameter("--peer and --address go together")
    found = examine(home, peer=peer, address=address, timeout_s=timeout)
    if as_json:
        print_json(
            {
                "faults": len(found.faults),
                "warnings": len(found.warnings),
                "findings": [
                    {
                        "check": each.check,
                        "level": each.level.value,
                        "code": each.code or None,
                        "message": each.message,
                        "mend": each.mend or None,
                        "party": each.party,
                    }
                    for each in found.findings
                ],
            }
        )
    else:
        say_table(
            ("", "check", "finding"),
            [(each.level.value, each.check, each.message) for each in found.findings],
        )
        for each in (f for f in found.findings if f.level is not Level.FINE):
            say()
            say(f"{each.check}: {each.message} [{each.code}]")
            say(f"  to mend: {each.mend}")
    raise typer.Exit(found.exit_code)
