"""``psishare dataset``: a platform's lists, evaluated once and served often."""

from pathlib import Path
from typing import Annotated, Any

import typer

import psishare
from psishare.cli.console import moment, number, print_json, say_fields, say_table
from psishare.cli.group import example, new_group
from psishare.cli.option import (
    AsText,
    Delimiter,
    Encoding,
    Format,
    Home,
    Json,
    Key,
    Namespace,
    NoHeader,
    Region,
)
from psishare.cli.progress import shown
from psishare.cli.reading import Reading
from psishare.cli.row_counts import rejected_text, rows_document
from psishare.datasets.manifest import Manifest, SignedManifest
from psishare.errors import ConfigError

ENCODE = (
    "psishare dataset encode customers --home tele \\",
    "    --data customers.csv --key phone=number --region DE",
)

UPDATE = (
    "psishare dataset update customers --home tele \\",
    "    --add new.csv --remove gone.csv --key phone=number",
)
ROTATE = (
    "psishare dataset rotate customers --home tele --grace 30 \\",
    "    --data customers.csv --key phone=number",
    "psishare dataset rotate --home tele --finish",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The dataset's name.")]
Memory = Annotated[
    int,
    typer.Option(
        metavar="MIB", min=320, help="The memory to stay under; less is slower by little."
    ),
]

app = new_group("Encode and show a platform's datasets.", *ENCODE, "psishare dataset show")


@app.command(epilog=example(*ENCODE))
def encode(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The dataset's name.")],
    *,
    home: Home,
    data: Annotated[
        Path, typer.Option(metavar="FILE", help="The list: a file, a folder, a pattern or `-`.")
    ],
    key: Key,
    namespace: Namespace = "",
    region: Region = None,
    n_max: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="The most items it may ever hold; room to grow if absent."
        ),
    ] = None,
    max_query: Annotated[
        int, typer.Option(metavar="N", min=1, help="The most distinct rows of one exchange.")
    ] = 2**20,
    memory: Memory = 512,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    as_json: Json = False,
) -> None:
    """Evaluate a list under a fresh key: the next epoch of a dataset, entered in the log."""
    column = psishare.KeyColumn.parse(key, namespace=namespace, region=region)
    reading = Reading(format_, encoding, delimiter, no_header, as_text)
    table = reading.open(data, column.column)
    counts: list[psishare.RowCounts] = []
    with psishare.Party.open(home) as party, shown(quiet=as_json) as report:
        signed = party.encode(
            table,
            column,
            name=name,
            n_max=n_max,
            max_query=max_query,
            memory_bytes=memory << 20,
            progress=report,
            counted=counts.append,
        )
    _print(signed, {"": counts[0]}, as_json=as_json)


@app.command(epilog=example("psishare dataset show --home tele"))
def show(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One dataset; all of them if absent.")
    ] = None,
    *,
    home: Home,
    as_json: Json = False,
) -> None:
    """Show the newest epoch of each dataset."""
    with psishare.Party.open(home) as party:
        found = [signed for signed in party.datasets() if name in {None, signed.manifest.dataset}]
    if name is not None and not found:
        raise ConfigError(
            f"there is no dataset named {name!r}",
            mend="See `psishare dataset show`, or make it with `psishare dataset encode`.",
            reason="dataset_unknown",
        )
    if as_json:
        print_json({"datasets": [_document(signed) for signed in found]})
        return
    if name is not None:
        _say(found[0], {})
        return
    say_table(
        ("dataset", "kind", "namespace", "#epoch", "#items", "#bytes", "created (UTC)"),
        [
            (
                signed.manifest.dataset,
                signed.manifest.kind,
                signed.manifest.namespace,
                number(signed.manifest.epoch),
                number(signed.manifest.items),
                number(_n_bytes(signed)),
                moment(signed.manifest.created),
            )
            for signed in found
        ],
    )


@app.command(epilog=example(*UPDATE))
def update(
    name: Name,
    *,
    home: Home,
    add: Annotated[Path | None, typer.Option(metavar="FILE", help="A list of what is new.")] = None,
    remove: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A list of what is gone.")
    ] = None,
    key: Key,
    namespace: Namespace = "",
    region: Region = None,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    as_json: Json = False,
) -> None:
    """Add to a dataset and remove from it, under the same key; its mandates must say `standing`."""
    if add is None and remove is None:
        raise typer.BadParameter("Give --add, --remove or both.")
    column = psishare.KeyColumn.parse(key, namespace=namespace, region=region)
    reading = Reading(format_, encoding, delimiter, no_header, as_text)
    counts: list[psishare.RowCounts] = []
    with psishare.Party.open(home) as party, shown(quiet=as_json) as report:
        signed = party.update_dataset(
            name,
            column,
            add=None if add is None else reading.open(add, column.column),
            remove=None if remove is None else reading.open(remove, column.column),
            progress=report,
            counted=counts.append,
        )
    given = [change for change, file in (("add", add), ("remove", remove)) if file is not None]
    _print(signed, dict(zip(given, counts, strict=True)), as_json=as_json)


@app.command(epilog=example(*ROTATE))
def rotate(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The dataset's name.")] = None,
    *,
    home: Home,
    data: Annotated[Path | None, typer.Option(metavar="FILE", help="The whole list.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KIND=COLUMN", help="As of `encode`.")
    ] = None,
    namespace: Namespace = "",
    region: Region = None,
    grace: Annotated[
        int, typer.Option(metavar="DAYS", min=0, help="For how long older epochs keep their keys.")
    ] = 30,
    finish: Annotated[
        bool,
        typer.Option("--finish", help="Destroy the keys whose grace is over; as `serve` does."),
    ] = False,
    memory: Memory = 512,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    as_json: Json = False,
) -> None:
    """Encode a dataset under a new key, and destroy the older keys after a grace."""
    reading = Reading(format_, encoding, delimiter, no_header, as_text)
    counts: list[psishare.RowCounts] = []
    with psishare.Party.open(home) as party, shown(quiet=as_json) as report:
        if finish:
            destroyed = party.destroy_due_keys()
        elif name is None or data is None or key is None:
            raise typer.BadParameter("Give NAME, --data and --key; or --finish.")
        else:
            column = psishare.KeyColumn.parse(key, namespace=namespace, region=region)
            signed = party.rotate_dataset(
                reading.open(data, column.column),
                column,
                name=name,
                grace_days=grace,
                memory_bytes=memory << 20,
                progress=report,
                counted=counts.append,
            )
    if not finish:
        _print(signed, {"": counts[0]}, as_json=as_json)
    elif as_json:
        print_json({"destroyed": [_document(each) for each in destroyed]})
    else:
        say_table(
            ("key destroyed of", "#epoch"),
            [(each.manifest.dataset, number(each.manifest.epoch)) for each in destroyed],
        )


@app.command(epilog=example("psishare dataset verify customers --home tele"))
def verify(name: Name, *, home: Home, as_json: Json = False) -> None:
    """Verify a dataset: signature, log entry, key, and every byte of it."""
    with psishare.Party.open(home) as party:
        signed = party.verify_dataset(name)
    _print(signed, {}, as_json=as_json)


@app.command(epilog=example("psishare dataset revoke customers --home tele"))
def revoke(name: Name, *, home: Home, as_json: Json = False) -> None:
    """Serve a dataset's newest epoch no more, and list to whom it was delivered."""
    with psishare.Party.open(home) as party:
        revoked = party.revoke_dataset(name)
    if as_json:
        deliveries = [
            {
                "peer": each.peer,
                "manifest_sha256": each.manifest_sha256,
                "mandate_id": each.mandate_id,
                "time": each.time,
            }
            for each in revoked.deliveries
        ]
        print_json(_document(revoked.signed) | {"deliveries": deliveries})
        return
    say_table(
        ("delivered to", "mandate", "manifest", "time (UTC)"),
        [
            (each.peer, each.mandate_id, each.manifest_sha256[:16], moment(each.time))
            for each in revoked.deliveries
        ],
    )


def _print(signed: SignedManifest, read: "dict[str, psishare.RowCounts]", *, as_json: bool) -> None:
    """Print a manifest, and what the rows of the lists came to that were read for it.

    Args:
        signed: the manifest.
        read: the rows by what was done with them: ``add``, ``remove``, or nothing of a whole list.
        as_json: as one JSON object.
    """
    if as_json:
        rows: dict[str, Any] = {}
        for change, counts in read.items():
            told = rows_document(counts)
            rows |= {change: told} if change else told
        print_json(_document(signed) | rows)
        return
    _say(
        signed,
        {
            name: text
            for change, counts in read.items()
            for name, text in (
                (f"{change} rows".strip(), number(counts.rows)),
                (
                    f"{change} rejected".strip(),
                    rejected_text(counts.rejected, counts.first_rejects),
                ),
            )
        },
    )


def _document(signed: SignedManifest) -> dict[str, Any]:
    manifest = signed.manifest
    return {
        "dataset": manifest.dataset,
        "kind": manifest.kind,
        "namespace": manifest.namespace,
        "epoch": manifest.epoch,
        "sequence": manifest.sequence,
        "items": manifest.items,
        "bytes": _n_bytes(signed),
        "n_max": manifest.n_max,
        "max_query": manifest.max_query,
        "fingerprint_bits": manifest.fingerprint_bits,
        "ruleset": {"version": manifest.ruleset.version, "digest": manifest.ruleset.digest},
        "public_key": manifest.public_key,
        "manifest_sha256": signed.sha256.hex(),
        "created": manifest.created,
    }


def _say(signed: SignedManifest, rows: dict[str, str]) -> None:
    manifest = signed.manifest
    say_fields(
        {
            "dataset": manifest.dataset,
            "kind": manifest.kind,
            "namespace": manifest.namespace or None,
            "epoch": _epoch(manifest),
            **rows,
            "items": f"{number(manifest.items)} of at most {number(manifest.n_max)}",
            "bytes": f"{number(_n_bytes(signed))}, {manifest.fingerprint_bits} bits an item",
            "an exchange": f"at most {number(manifest.max_query)} distinct rows",
            "ruleset": f"{manifest.kind} {manifest.ruleset.version}, {manifest.ruleset.digest[:16]}",
            "manifest": signed.sha256.hex(),
        }
    )


def _epoch(manifest: Manifest) -> str:
    updated = f", update {manifest.sequence}" if manifest.sequence else ""
    return f"{manifest.epoch}{updated}, {manifest.created}"


def _n_bytes(signed: SignedManifest) -> int:
    return signed.manifest.n_bytes
