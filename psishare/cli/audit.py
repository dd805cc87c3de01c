"""``psishare audit``: what an auditor runs, with public cards alone."""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from psishare.cli import (
    audit_dataset,
    audit_export,
    audit_fsck,
    audit_open,
    audit_prove,
    audit_reconcile,
    audit_replay,
    audit_report,
    audit_witness,
)
from psishare.cli.console import number, print_json_list, say, say_fields
from psishare.cli.exchange_list import ExchangeList
from psishare.cli.file import read
from psishare.cli.group import example, new_group
from psishare.cli.option import Json
from psishare.cli.silence import told_silence
from psishare.cli.trust import Trust, read_cards
from psishare.errors import ExitCode
from psishare.evidence.quorum import Quorum
from psishare.evidence.verify import Verdict, verify_evidence
from psishare.parties.card import Card

EXAMPLE = "psishare audit verify tele/log --trust tele.card --trust police.card"

BUNDLE_EXAMPLE = "psishare audit verify case.bundle --trust tele.card --trust court.card"

app = new_group("Verify audit logs, offline, with public cards alone.", EXAMPLE)
app.command(epilog=example(audit_fsck.EXAMPLE))(audit_fsck.fsck)
app.command(epilog=example(audit_export.EXAMPLE, audit_export.PERIOD_EXAMPLE))(audit_export.export)
app.command("reconcile", epilog=example(audit_reconcile.EXAMPLE))(audit_reconcile.reconcile_logs)
app.command("replay", epilog=example(audit_replay.EXAMPLE))(audit_replay.replay_exchange)
app.command(
    "dataset-ask", epilog=example(audit_dataset.ASK_EXAMPLE, audit_dataset.UPDATED_EXAMPLE)
)(audit_dataset.dataset_ask)
app.command("dataset-answer", epilog=example(audit_dataset.ANSWER_EXAMPLE))(
    audit_dataset.dataset_answer
)
app.command("dataset-check", epilog=example(audit_dataset.CHECK_EXAMPLE))(
    audit_dataset.dataset_check
)
app.command(epilog=example(audit_prove.PROVE_EXAMPLE))(audit_prove.prove)
app.command("check-proof", epilog=example(audit_prove.CHECK_EXAMPLE))(audit_prove.check_proof)
app.command(epilog=example(audit_witness.EXAMPLE))(audit_witness.witness)
app.command("report", epilog=example(audit_report.EXAMPLE))(audit_report.report)
app.command("open", epilog=example(audit_open.OPEN_EXAMPLE))(audit_open.open_)
app.command("shred", epilog=example(audit_open.SHRED_EXAMPLE))(audit_open.shred)


@app.command(epilog=example(EXAMPLE, BUNDLE_EXAMPLE))
def verify(
    evidence: Annotated[
        Path,
        typer.Argument(metavar="BUNDLE|LOGDIR", help="A bundle, a log's folder, or a copy of one."),
    ],
    *,
    trust: Trust,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Which witnesses must have cosigned (C2SP tlog-policy)."),
    ] = None,
    mandate: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A signed mandate to hold exchanges against."),
    ] = None,
    all_checkpoints: Annotated[
        bool,
        typer.Option(
            "--all-checkpoints", help="Every older checkpoint of a bundle, not only cosigned ones."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify a log or a bundle of it, and every exchange in it.

    Every entry, proof, root, checkpoint and signature is checked again, with no key but those in the
    cards that you give. Ends with exit code 0 if all of it verifies, 8 if not or if a mandate does not
    cover an exchange, 3 if a card lacks.
    """
    cards = read_cards(trust)
    with closing(ExchangeList()) as exchanges:
        verdict = verify_evidence(
            evidence,
            cards,
            each=exchanges.add,
            all_checkpoints=all_checkpoints,
            quorum=None if policy is None else Quorum(read(policy, "the policy")),
            mandates=[read(file, "the mandate") for file in mandate or []],
        )
        if as_json:
            print_json_list(_document(verdict, cards), "exchanges", exchanges.documents())
        else:
            _say(verdict, cards, exchanges)
    if verdict.n_uncovered:
        raise typer.Exit(int(ExitCode.AUDIT))


def _document(verdict: Verdict, cards: dict[str, Card]) -> dict[str, Any]:
    log = verdict.log
    return {
        "verified": not verdict.n_uncovered,
        "party": verdict.party,
        "scope": _scope(verdict),
        "tree_size": log.head.tree_size,
        "root_hash": log.head.root_hash.hex(),
        "checkpoints": log.n_checkpoints,
        "later_keys": _later_keys(verdict, cards),
        "entries": log.entries_by_type,
        "first_time": log.first_time,
        "last_time": log.last_time,
        "times_back": verdict.n_back,
        "cosigned": log.cosigners,
        "after_cosigned": log.after_cosigned,
        "unfinished": list(log.unfinished),
        "trusted": {party: card.fingerprint() for party, card in sorted(cards.items())},
        "silence": None if verdict.silence is None else asdict(verdict.silence),
        "uncovered": verdict.n_uncovered,
    }


def _scope(verdict: Verdict) -> dict[str, Any]:
    header = verdict.header
    if header is None:
        return {"scope": "all"}
    fields = ("scope", "since", "until", "mandate_id", "exchange_id")
    told = {name: getattr(header, name) for name in fields}
    return {name: value for name, value in told.items() if value is not None}


def _say(verdict: Verdict, cards: dict[str, Card], exchanges: ExchangeList) -> None:
    log = verdict.log
    cosigned = [
        _cosigned(party, log.cosigners[party], n) for party, n in log.after_cosigned.items()
    ]
    say_fields(
        {
            "log of": verdict.party,
            "entries": f"{number(log.head.tree_size)}, from {log.first_time} to {log.last_time}",
            "root": log.head.root_hash.hex(),
            "checkpoints": number(log.n_checkpoints),
            "keys": _told_keys(_later_keys(verdict, cards)),
            "cosigned by": "; ".join(cosigned) or "nobody that you trust",
            "unfinished": ", ".join(log.unfinished) or None,
            "times that go back": number(verdict.n_back) if verdict.n_back else None,
            "silence": None if verdict.silence is None else told_silence(verdict.silence),
            "trusted": ", ".join(sorted(cards)),
        }
    )
    if verdict.n_exchanges:
        say()
        exchanges.say()
    say()
    if not verdict.n_uncovered:
        say(f"The log of {verdict.party} verifies.", style="green")
        return
    say(
        f"The log of {verdict.party} verifies, but {number(verdict.n_uncovered)} of its exchanges"
        " have no mandate that covers them.",
        style="red",
    )


def _later_keys(verdict: Verdict, cards: dict[str, Card]) -> int:
    """Return how many pairs of the log's keys the trusted card does not name, and the evidence does."""
    named = cards[verdict.party].checkpoint_verifiers
    return max(0, len(verdict.log.keys.terms) - len(named.terms))


def _told_keys(later: int) -> str | None:
    """Say that keys came from the evidence; each pair's owner signed for the next one, from the card's on."""
    if not later:
        return None
    pairs = "a pair" if later == 1 else f"{number(later)} pairs"
    return (
        f"{pairs} that the card you trust does not name yet; the last pair that it names led there"
    )


def _cosigned(party: str, size: int, n_after: int) -> str:
    """Return up to which tree a party has cosigned the log, and what it has not seen of it."""
    after = f", {number(n_after)} came after" if n_after else ""
    return f"{party} up to {number(size)} of {number(size + n_after)}{after}"
