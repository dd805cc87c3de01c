"""``psishare mandate draft``: a mandate that nobody has signed yet."""

import contextlib
import hashlib
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import psishare
from psishare.cli.console import print_json, say
from psishare.cli.file import read, require_free, write_new
from psishare.cli.mandate_shown import mandate_document
from psishare.cli.option import Home, Json, Overwrite
from psishare.errors import InputError
from psishare.mandates.draft import Grounds
from psishare.mandates.envelope import read_envelope
from psishare.parties import home as parties
from psishare.parties.card import parse_card
from psishare.parties.field import TIME_FORMAT
from psishare.psi.suite import Output, Protocol

EXAMPLE = (
    "psishare mandate draft case.mandate --home prosecutor \\",
    "    --validator court.example --authority police.example \\",
    "    --platform tele.example --kind phone \\",
    "    --max-rows 5000 --not-after 2027-01-31 --jurisdiction DE \\",
    '    --legal-basis "Code of criminal procedure, section 100j" \\',
    '    --purpose "find the accounts of suspects" --case-file case.txt',
)
FROM_REQUEST = (
    "psishare mandate draft case.mandate --home prosecutor \\",
    "    --validator court.example --request case.request \\",
    "    --not-after 2027-01-31 --jurisdiction DE --case-file case.txt \\",
    '    --legal-basis "Section 100j" --purpose "find the accounts of suspects"',
)

MAX_REQUEST = 2**31
ValidatorRole = Literal["judge", "court", "prosecutor", "officer"]


def _start(text: str) -> datetime:
    """Read a time; a day stands for its beginning."""
    return _time(text, timedelta())


def _end(text: str) -> datetime:
    """Read a time; a day stands for its last second."""
    return _time(text, timedelta(days=1, seconds=-1))


def _time(text: str, of_day: timedelta) -> datetime:
    with contextlib.suppress(ValueError):
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + of_day
    try:
        return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise typer.BadParameter("write 2027-01-31 or 2027-01-31T12:00:00Z (UTC)") from None


def draft(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    *,
    home: Home,
    issuer: Annotated[
        str | None, typer.Option(metavar="ID", help="Who issues it; this home's party if absent.")
    ] = None,
    validator: Annotated[str, typer.Option(metavar="ID", help="Who must sign besides the issuer.")],
    validator_role: Annotated[
        ValidatorRole,
        typer.Option(
            metavar="ROLE",
            help="judge, court, prosecutor or officer: in what capacity the validator signs.",
        ),
    ] = "court",
    request: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A prepared list to approve; it says who, whom, what and how many rows.",
        ),
    ] = None,
    authority: Annotated[str | None, typer.Option(metavar="ID", help="Who may ask.")] = None,
    platform: Annotated[str | None, typer.Option(metavar="ID", help="Who may be asked.")] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="A kind that may be asked about. Repeatable."),
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            metavar="NAME",
            help="A dataset that may be asked. Repeatable; any if absent.",
        ),
    ] = None,
    outputs: Annotated[
        list[Output] | None,
        typer.Option(
            "--output",
            metavar="matches|count|both",
            help="What may be learnt. Repeatable; matches if absent.",
        ),
    ] = None,
    protocols: Annotated[
        list[Protocol] | None,
        typer.Option(
            "--protocol",
            metavar="oprf|ecdh|openmined",
            help="How. Repeatable; every protocol if absent.",
        ),
    ] = None,
    max_rows: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="The most distinct rows of one exchange."),
    ] = None,
    max_exchanges: Annotated[int, typer.Option(metavar="N", min=1, help="The most exchanges.")] = 1,
    max_rows_total: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="The most rows of all of them; their product if absent."
        ),
    ] = None,
    standing: Annotated[
        bool, typer.Option("--standing", help="Cover newer versions of a dataset too.")
    ] = False,
    jurisdiction: Annotated[str, typer.Option(metavar="TEXT", help="Under whose law.")],
    legal_basis: Annotated[str, typer.Option(metavar="TEXT", help="The provision of that law.")],
    purpose: Annotated[str, typer.Option(metavar="TEXT", help="What for, without naming anyone.")],
    necessity: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why it is necessary and proportionate.")
    ] = None,
    case: Annotated[
        str | None,
        typer.Option(
            metavar="REFERENCE",
            help="The case's reference. Only a salted commitment enters the mandate.",
        ),
    ] = None,
    case_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Read the reference from here instead (`-`: standard input), out of others' sight.",
        ),
    ] = None,
    attachment: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The court's order or the like; its digest is bound."),
    ] = None,
    not_before: Annotated[
        datetime | None,
        typer.Option(parser=_start, metavar="TIME", help="Valid from; now if absent."),
    ] = None,
    not_after: Annotated[
        datetime,
        typer.Option(
            parser=_end,
            metavar="TIME",
            help="Valid until: 2027-01-31 for the end of that day (UTC), or 2027-01-31T12:00:00Z.",
        ),
    ],
    retention_until: Annotated[
        datetime | None,
        typer.Option(parser=_end, metavar="TIME", help="How long the evidence is to be kept."),
    ] = None,
    erase_by: Annotated[
        datetime | None,
        typer.Option(
            parser=_end, metavar="TIME", help="By when matches and evidence are to be destroyed."
        ),
    ] = None,
    validate_by: Annotated[
        datetime | None,
        typer.Option(
            parser=_end,
            metavar="TIME",
            help="An emergency: usable at once, if the validator signs by then.",
        ),
    ] = None,
    emergency_ground: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why it cannot wait for the validator.")
    ] = None,
    no_notice_until: Annotated[
        datetime | None,
        typer.Option(
            parser=_end, metavar="TIME", help="Persons concerned are not told until then."
        ),
    ] = None,
    no_notice_ground: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why they are not to be told.")
    ] = None,
    supersedes: Annotated[
        str | None, typer.Option(metavar="ID", help="The mandate that this one replaces.")
    ] = None,
    court_card: Annotated[
        Path | None,
        typer.Option(metavar="CARD", help="Seal the authority's openings to this party as well."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a mandate that nobody has signed yet.

    The case's reference is sealed to this home and kept in its folder of mandates.
    """
    require_free(file, overwrite=overwrite)
    asked = {
        "authority": authority,
        "platform": platform,
        "kinds": kinds or None,
        "datasets": datasets or None,
        "outputs": [each.value for each in outputs] if outputs else None,
        "protocols": [each.value for each in protocols] if protocols else None,
        "max_rows_per_exchange": max_rows,
    }
    if request is None:
        asked = _completed(asked)
    now = datetime.now(UTC)
    opened = parties.Home.open(home)
    drafted = psishare.draft_mandate(
        opened,
        _case_reference(case, case_file),
        request=None if request is None else read(request, "the request", max_bytes=MAX_REQUEST),
        issuer=issuer or opened.id,
        validator=validator,
        validator_role=validator_role,
        max_rows_total=max_rows_total,
        max_exchanges=max_exchanges,
        standing=standing,
        jurisdiction=jurisdiction,
        legal_basis=legal_basis,
        purpose=purpose,
        necessity=necessity,
        attachment_sha256=None if attachment is None else file_digest(attachment),
        not_before=not_before or now,
        not_after=not_after,
        retention_until=retention_until,
        erase_by=erase_by,
        emergency=_grounds("--validate-by", validate_by, "--emergency-ground", emergency_ground),
        delayed_notification=_grounds(
            "--no-notice-until", no_notice_until, "--no-notice-ground", no_notice_ground
        ),
        supersedes=supersedes,
        court_sealing_key=_sealing_key(court_card),
        now=now,
        **asked,
    )
    write_new(file, drafted.envelope, overwrite=overwrite)
    if as_json:
        print_json(mandate_document(read_envelope(drafted.envelope)) | {"file": str(file)})
        return
    say(f"Mandate {drafted.mandate.id} is in {file}, not signed yet.")
    say(f"Next: {drafted.mandate.issuer} and {validator} sign it (psishare mandate sign {file}).")


def _completed(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what may be asked, with what stands for an option that is absent."""
    needed = {"authority", "platform", "kinds", "max_rows_per_exchange"}
    if any(asked[name] is None for name in needed):
        raise typer.BadParameter(
            "give --authority, --platform, --kind and --max-rows, or a prepared list as --request"
        )
    defaults = {
        "datasets": [],
        "outputs": [Output.MATCHES.value],
        "protocols": [each.value for each in Protocol],
    }
    return {name: defaults.get(name) if value is None else value for name, value in asked.items()}


def _case_reference(case: str | None, case_file: str | None) -> str:
    if (case is None) == (case_file is None):
        raise typer.BadParameter("give the case's reference, as --case or as --case-file")
    if case is not None:
        return case
    if case_file == "-":
        return sys.stdin.readline().strip()
    try:
        return read(Path(str(case_file)), "the case's reference").decode("utf-8").strip()
    except UnicodeDecodeError:
        raise InputError(
            f"{case_file} does not hold text in UTF-8",
            mend="Write the reference alone into a text file.",
            reason="case_reference_invalid",
        ) from None


def file_digest(attachment: Path) -> str:
    """Return the SHA-256 of a paper's file, hexadecimal.

    Raises:
        InputError: ``file_unreadable``.
    """
    try:
        with attachment.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"the attachment {attachment} cannot be read: {error.strerror}",
            mend="Check the path and its permissions.",
            reason="file_unreadable",
        ) from error


def _sealing_key(card: Path | None) -> bytes | None:
    return None if card is None else parse_card(read(card, "the card")).sealing_key_bytes


def _grounds(
    until_option: str, until: datetime | None, ground_option: str, ground: str | None
) -> Grounds | None:
    if (until is None) != (ground is None):
        raise typer.BadParameter(f"{until_option} and {ground_option} go together")
    return None if until is None or ground is None else Grounds(ground, until)
