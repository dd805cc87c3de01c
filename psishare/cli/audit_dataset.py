"""``psishare audit dataset-ask``, ``-answer``, ``-check``: whether a published dataset is exactly a list."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

import psishare
from psishare.cli.console import number, print_json, say, say_fields
from psishare.cli.file import read, require_free, write_new
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
    Overwrite,
    Region,
)
from psishare.cli.reading import Reading
from psishare.cli.trust import Trust, read_cards
from psishare.errors import ExitCode
from psishare.evidence.published import require_published
from psishare.evidence.trust import trusted_card
from psishare.keys.sealing import seal
from psishare.parties.home import Home as PartyHome

if TYPE_CHECKING:
    from psishare.datasets.listed import ChangeKind

ASK_EXAMPLE = "psishare audit dataset-ask ask.bin --home auditor --data customers.csv ..."
ANSWER_EXAMPLE = "psishare audit dataset-answer ask.bin answer.bin --dataset customers ..."
UPDATED_EXAMPLE = "psishare audit dataset-ask ask.bin --change remove=gone.csv ..."
CHECK_EXAMPLE = "psishare audit dataset-check ask.bin answer.bin --home auditor --data ..."

INFO = b"psishare/dataset-replay/v1"
SEED_BYTES = 32

Data = Annotated[Path, typer.Option(metavar="FILE", help="The platform's whole list.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--change",
        metavar="add=FILE|remove=FILE",
        help="What an update added or removed since, oldest first; give it again for each.",
    ),
]
Request = Annotated[Path, typer.Argument(metavar="REQUEST", help="The blinded list.")]
Answer = Annotated[Path, typer.Argument(metavar="ANSWER", help="The platform's answer.")]


def dataset_ask(
    request: Request,
    *,
    home: Home,
    data: Data,
    key: Key,
    change: Changes = None,
    namespace: Namespace = "",
    region: Region = None,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Blind a platform's whole list, so that the platform can answer for its dataset.

    Where the dataset was updated, --data is the list that it was encoded from, and each --change what an
    update removed or added since, oldest first; the same for the check.

    Beside the file goes another, ending in .seed, which only this home opens: keep it for the check.
    """
    from psishare.datasets.replay import make_request  # noqa: PLC0415  help must not load it

    party = PartyHome.open(home)
    column = psishare.KeyColumn.parse(key, namespace=namespace, region=region)
    reading = Reading(format_, encoding, delimiter, no_header, as_text)
    identifiers = _listed(data, change, column, reading).asked
    seed = secrets.token_bytes(SEED_BYTES)
    made = make_request(identifiers, seed)
    sealed = seal(party.card.sealing_key_bytes, seed, info=INFO, aad=b"")
    write_new(_seed_file(request), sealed, overwrite=overwrite)
    write_new(request, made, overwrite=overwrite)
    if as_json:
        print_json({"request": str(request), "identifiers": len(identifiers)})
    else:
        say_fields({"request": str(request), "identifiers": number(len(identifiers))})


def dataset_answer(
    request: Request,
    answer: Answer,
    *,
    home: Home,
    dataset: Annotated[str, typer.Option(metavar="NAME", help="The dataset's name.")],
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Answer for the newest epoch of a dataset, with proofs; the log says so first.

    Only a request about as many identifiers as the dataset holds is answered. The key stays here. Who has
    the answer and the shards can look up this list, and no other identifier.
    """
    asked = _whole(request, "the request")
    require_free(answer, overwrite=overwrite)
    with psishare.Party.open(home) as party:
        made = party.answer_replay(dataset, asked)
    write_new(answer, made, overwrite=overwrite)
    told = {"answer": str(answer), "dataset": dataset}
    if as_json:
        print_json(told)
    else:
        say_fields(told)


def dataset_check(
    request: Request,
    answer: Answer,
    *,
    home: Home,
    data: Data,
    key: Key,
    trust: Trust,
    evidence: Annotated[
        Path,
        typer.Option(metavar="BUNDLE|LOGDIR", help="The platform's log: what it has published."),
    ],
    change: Changes = None,
    namespace: Namespace = "",
    region: Region = None,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    as_json: Json = False,
) -> None:
    """Show that a dataset which a platform's log says it published is exactly a list.

    Every proof is verified, and every shard made again and compared with the manifest. Ends with exit
    code 0 if the dataset is the list, 8 if not.
    """
    from psishare.datasets.replay import check_answer  # noqa: PLC0415  help must not load it

    column = psishare.KeyColumn.parse(key, namespace=namespace, region=region)
    reading = Reading(format_, encoding, delimiter, no_header, as_text)
    cards, party = read_cards(trust), PartyHome.open(home)
    sealed = read(_seed_file(request), "the seed")
    seed = party.sealing_key().open(sealed, info=INFO, aad=b"")
    owner, published = require_published(evidence, cards)
    result = check_answer(
        _whole(request, "the request"),
        _whole(answer, "the answer"),
        _listed(data, change, column, reading),
        seed,
        trusted_card(cards, owner).log_key,
    )
    digest = result.signed.sha256.hex()
    is_published = digest in published
    if as_json:
        print_json(
            {
                "replays": is_published and result.shard is None,
                "published": is_published,
                "manifest_sha256": digest,
                "epoch": result.signed.manifest.epoch,
                "listed": result.listed,
                "items": result.signed.manifest.items,
                "shard": result.shard,
            }
        )
    else:
        _say(is_published=is_published, shard=result.shard, listed=result.listed)
    if not is_published or result.shard is not None:
        raise typer.Exit(int(ExitCode.AUDIT))


def _say(*, is_published: bool, shard: int | None, listed: int) -> None:
    if not is_published:
        say("The platform's log does not say that it published this dataset.", style="red")
    elif shard is not None:
        say(f"The dataset is not this list: shard {number(shard)} differs.", style="red")
    else:
        say(f"The dataset is this list of {number(listed)} identifiers.", style="green")


def _distinct(data: Path, column: "psishare.KeyColumn", reading: Reading) -> Any:
    from psishare.exchange.prepared_list import prepare  # noqa: PLC0415  it loads what is native

    return prepare(reading.open(data, column.column), column, lambda _rows: None).distinct


def _listed(
    data: Path, changes: list[str] | None, column: "psishare.KeyColumn", reading: Reading
) -> Any:
    from psishare.datasets.listed import listed_dataset  # noqa: PLC0415  it loads what is native

    told: list[tuple[ChangeKind, Any]] = []
    for change in changes or []:
        kind, _equals, file = change.partition("=")
        if kind not in ("add", "remove") or not file:
            raise typer.BadParameter("--change is add=FILE or remove=FILE")
        told.append((cast("ChangeKind", kind), _distinct(Path(file), column, reading)))
    return listed_dataset(_distinct(data, column, reading), told)


def _seed_file(request: Path) -> Path:
    return request.with_name(f"{request.name}.seed")


def _whole(path: Path, what: str) -> bytes:
    """Return the bytes of a file that is as large as a list."""
    size = path.stat().st_size if path.is_file() else 1
    return read(path, what, max_bytes=size)
