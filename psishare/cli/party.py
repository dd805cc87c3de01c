"""``psishare party``: this party's home folder and card."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import psishare
from psishare.cli.console import number, print_json, say, say_fields, tell_warnings
from psishare.cli.file import require_free, write_new
from psishare.cli.group import example, new_group
from psishare.cli.option import Home, Json, Overwrite
from psishare.cli.passphrase import choose_another_passphrase, choose_passphrase
from psishare.keys.log_keys import LogKeys
from psishare.parties import home as parties
from psishare.parties.field import write_time
from psishare.parties.signer_choice import read_signer_choices
from psishare.parties.tls import validity

WORDS_A_LINE = 4
INIT = (
    "psishare party init --home tele --id tele.example \\",
    '    --role platform --name "Tele"',
)

app = new_group(
    "Make this party's home folder, and show or export its card.",
    *INIT,
    "psishare party export --home tele tele.card",
)

Role = Literal["platform", "authority", "issuer", "auditor", "witness", "operator"]


@app.command(epilog=example(*INIT))
def init(
    *,
    home: Home,
    party_id: Annotated[
        str, typer.Option("--id", metavar="ID", help="The party's id, such as tele.example.")
    ],
    role: Annotated[Role, typer.Option(help="What the party does.")],
    name: Annotated[str, typer.Option(metavar="TEXT", help="The party's name, for people.")],
    no_passphrase: Annotated[
        bool,
        typer.Option(
            "--no-passphrase",
            help="Leave the keys unencrypted, with permissions as their only guard.",
        ),
    ] = False,
    signers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Which log keys are in a token or a service: see docs/signers.md.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a home folder with fresh keys, a card and, where the role keeps one, an audit log.

    The keys are encrypted under a passphrase that you are asked for, or that a file or the service's
    credential holds.
    """
    made = psishare.init_party(
        home,
        party_id=party_id,
        role=role,
        display_name=name,
        passphrase=None if no_passphrase else choose_passphrase(home),
        signers=None if signers is None else read_signer_choices(signers),
    )
    if as_json:
        print_json(_document(made))
        return
    _say(made)
    say()
    say("Next: give your card to the parties you work with (psishare party export),")
    say("and read the fingerprint to each other.")


@app.command(
    epilog=example(
        "psishare party passphrase --home tele",
        "psishare party passphrase --home tele --new-passphrase-file tele.pass",
    )
)
def passphrase(
    *,
    home: Home,
    new: Annotated[
        Path | None,
        typer.Option(
            "--new-passphrase-file",
            metavar="FILE",
            help="Holds the new passphrase. Asked if absent.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Give the home another passphrase, or its first one.

    The first one encrypts every key that lies in the clear. Interrupted, the same again does the rest.
    """
    opened = parties.Home.open(home)
    opened.unlock()
    encrypted = psishare.set_passphrase(opened, choose_another_passphrase(home, new))
    if as_json:
        print_json({"id": opened.id, "encrypted": encrypted})
        return
    say(f"The keys of {opened.id} open with the new passphrase, and with no other.")
    if encrypted:
        say(f"{encrypted} key files that lay in the clear are encrypted now; copies of them")
        say("that a backup holds are not.")


@app.command(epilog=example("psishare party show --home tele", "psishare party show --keys"))
def show(
    *,
    home: Home,
    keys: Annotated[
        bool,
        typer.Option("--keys", help="Open every key too, as after a backup was restored."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show who this party is, its fingerprint, its certificates and the size of its log."""
    opened = parties.Home.open(home)
    checked = opened.check_keys() if keys else None
    if as_json:
        print_json(_document(opened) | ({} if checked is None else {"keys_opened": checked}))
        return
    _say(opened)
    if checked is not None:
        say(f"All {checked} key files open, and are the card's.")


@app.command(
    epilog=example(
        "psishare party export --home tele tele.card",
        "psishare party export --home tele - | gpg --clearsign",
    )
)
def export(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Where to; `-` is standard output.")
    ] = "-",
    *,
    home: Home,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write the card that other parties pin. It holds public keys only."""
    opened = parties.Home.open(home)
    card = opened.export_card()
    if file == "-":
        # The exact bytes: the card is its own JSON object, and is refused when anything is added.
        sys.stdout.buffer.write(card)
        sys.stdout.buffer.flush()
        return
    write_new(Path(file), card, overwrite=overwrite, mode=0o644)
    if as_json:
        print_json({"id": opened.id, "card": file, "fingerprint": opened.card.fingerprint()})
        return
    say(f"The card of {opened.id} is in {file}. Its fingerprint, to be read aloud:")
    say(spoken(opened.card.fingerprint(), indent="  "))


@app.command(
    epilog=example(
        "psishare party renew --home tele",
        "psishare party renew --home tele --switch",
        "psishare party renew --home tele --sealing-key",
    )
)
def renew(
    *,
    home: Home,
    switch: Annotated[
        bool,
        typer.Option(
            "--switch",
            help="Put the next certificate in the current one's place. Send serve a SIGHUP then.",
        ),
    ] = False,
    sealing_key: Annotated[
        bool, typer.Option("--sealing-key", help="Make another sealing key instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the next TLS certificate, or another sealing key, under the same fingerprint.

    Give the new card to your peers: they take it without comparing words again. Once all have it,
    --switch.
    """
    if switch and sealing_key:
        raise typer.BadParameter("--switch is of certificates, and --sealing-key is not")
    change = psishare.switch_certificate if switch else psishare.announce_certificate
    renewed = (psishare.renew_sealing_key if sealing_key else change)(parties.Home.open(home))
    if as_json:
        print_json(_document(renewed))
        return
    say(f"The card of {renewed.id} has serial {renewed.card.serial} now.")
    say("Next: give it to your peers (psishare party export); they add it with psishare peer add.")
    if switch:
        say(
            "A server that runs presents the old certificate until it gets SIGHUP or is started again."
        )
    elif not sealing_key:
        say("Once all peers have the card: psishare party renew --switch")


@app.command(
    epilog=example(
        "psishare party rotate-log-keys --home tele",
        "psishare party rotate-log-keys --home tele --finish",
    )
)
def rotate_log_keys(
    *,
    home: Home,
    finish: Annotated[
        bool,
        typer.Option("--finish", help="End the overlap: the new keys alone sign from now on."),
    ] = False,
    signers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Which new keys are in a token or a service: see docs/signers.md.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Let new keys sign the log's checkpoints, beside the old ones until --finish.

    Both keys change together, Ed25519 and ML-DSA-44; the fingerprint, and the key behind it, stay. Give the
    new card to your peers and auditors; once all have it, --finish. A server that runs goes on.
    """
    if finish and signers is not None:
        raise typer.BadParameter("--signers is of new keys, and --finish makes none")
    opened = parties.Home.open(home)
    if finish:
        rotated = psishare.retire_log_keys(opened)
    else:
        choices = None if signers is None else read_signer_choices(signers)
        rotated = psishare.rotate_log_keys(opened, signers=choices)
    if as_json:
        print_json(_document(rotated))
        return
    say(f"The card of {rotated.id} has serial {rotated.card.serial} now.")
    say(_signing(rotated.card.checkpoint_verifiers))
    say("Next: give it to your peers (psishare party export); they add it with psishare peer add.")
    if not finish:
        say("Once all have it: psishare party rotate-log-keys --finish.")


@app.command(
    epilog=example(
        "psishare party succeed tele.succession --home tele \\",
        "    --new-home tele-2 --id tele.example/2",
    )
)
def succeed(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write what your peers need.")
    ],
    *,
    home: Home,
    new_home: Annotated[
        Path, typer.Option("--new-home", metavar="DIR", help="Where the successor's home is to be.")
    ],
    party_id: Annotated[
        str, typer.Option("--id", metavar="ID", help="The successor's id, such as tele.example/2.")
    ],
    no_passphrase: Annotated[
        bool,
        typer.Option(
            "--no-passphrase",
            help="Leave the successor's keys unencrypted, with permissions as their only guard.",
        ),
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a successor with fresh signing keys, for whom this party's key vouches.

    For a planned change of the key behind the fingerprint: that key cannot change, so its party is
    followed by another. Your peers add the file with psishare peer add, without comparing words. Where
    others may have your key, have your peers revoke you instead.
    """
    require_free(file, overwrite=overwrite)
    made, data = psishare.succeed_party(
        parties.Home.open(home),
        new_home,
        party_id=party_id,
        passphrase=None if no_passphrase else choose_passphrase(new_home),
    )
    write_new(file, data, overwrite=overwrite, mode=0o644)
    if as_json:
        print_json(_document(made) | {"succession": str(file)})
        return
    _say(made)
    say()
    say(f"Next: give {file} to your peers; they add it with psishare peer add.")


def spoken(fingerprint: str, *, indent: str = "") -> str:
    """Return a fingerprint in lines of four words, as people read them to each other."""
    words = fingerprint.split("-")
    lines = [words[start : start + WORDS_A_LINE] for start in range(0, len(words), WORDS_A_LINE)]
    width = max(len(word) for word in words) + 2
    return "\n".join(
        indent + "".join(word.ljust(width) for word in line).rstrip() for line in lines
    )


def _document(home: parties.Home) -> dict[str, Any]:
    card = home.card
    return {
        "id": card.id,
        "role": card.role,
        "display_name": card.display_name,
        "home": str(home.path),
        "fingerprint": card.fingerprint(),
        "serial": card.serial,
        "created": card.created,
        "encrypted": home.vault.is_locked,
        "warnings": psishare.certificate_warnings(home, ()),
        "log_size": _log_size(home),
        "log_keys": [
            {
                "ed25519": term.keys[0].encode(),
                "ml_dsa_44": term.keys[1].encode(),
                "first": term.first,
                "last": term.last,
            }
            for term in card.checkpoint_verifiers.terms
        ],
        "certificates": [
            {"not_before": write_time(start), "not_after": write_time(end), "sha256": digest.hex()}
            for (start, end), digest in zip(
                _validities(home), card.certificate_digests(), strict=True
            )
        ],
    }


def _say(home: parties.Home) -> None:
    card, size = home.card, _log_size(home)
    names = ("certificate", "next certificate")
    say_fields(
        {
            "id": card.id,
            "role": card.role,
            "name": card.display_name,
            "home": str(home.path),
            "card": f"serial {card.serial}, {card.created}",
            "keys": "encrypted" if home.vault.is_locked else "in the clear: see `party passphrase`",
            "log": "none, as for every party of this role"
            if size is None
            else f"{number(size)} entries",
        }
        | {
            name: f"from {write_time(start)} to {write_time(end)}"
            for name, (start, end) in zip(names, _validities(home), strict=False)
        }
        | {"fingerprint": spoken(card.fingerprint())}
    )
    tell_warnings(psishare.certificate_warnings(home, ()))


def _log_size(home: parties.Home) -> int | None:
    """Return the number of entries in the party's log, or None where its role keeps none."""
    return psishare.log_size(home)


def _validities(home: parties.Home) -> list[tuple[datetime, datetime]]:
    return [validity(certificate) for certificate in home.card.certificates()]


def _signing(keys: LogKeys) -> str:
    """Say from which size on a log's newest keys sign: beside the ones before them, or alone."""
    if keys.overlaps:
        return f"The new keys sign the log from size {number(keys.newest.first)} on."
    retired = keys.terms[-2].last or 0
    return f"The new keys sign the log from size {number(retired + 1)} on, alone."
