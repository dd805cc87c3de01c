"""What a platform refuses, it refuses before any group operation, and both logs say why."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hostile_exchange import (
    OURS,
    THEIRS,
    Line,
    entries,
    failed,
    run,
    told,
    verified,
)
from stage import AUTHORITY, ISSUER, PLATFORM, RULESET, VALIDATOR, Stage

from psishare.errors import AuthorisationError, ExitCode, PsishareError
from psishare.exchange.document import now
from psishare.exchange.offer import Ruleset
from psishare.exchange.offering import ListOffering
from psishare.keys import canonical
from psishare.mandates.envelope import key_id, new_envelope, read_envelope, sign_envelope
from psishare.mandates.mandate import Mandate
from psishare.mandates.policy import Policy
from psishare.psi import suite
from psishare.psi.suite import Output
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = timedelta(days=1)

# What the mandate allows is changed, or what is asked; either way the platform has to refuse.
MANDATES: dict[str, dict[str, Any]] = {
    "mandate_expired": {"not_before": now() - 3 * DAY, "not_after": now() - DAY},
    "mandate_not_yet_valid": {"not_before": now() + DAY, "not_after": now() + 2 * DAY},
    "mandate_other_authority": {"authority": "customs.example"},
    "mandate_other_platform": {"platform": "bank.example"},
    "mandate_other_dataset": {"datasets": ["suppliers"]},
    "mandate_other_kind": {"kinds": ["email"]},
    "mandate_other_output": {"outputs": ["count"]},
    "mandate_other_protocol": {"protocols": ["openmined"]},
    "mandate_over_rows": {"max_rows_per_exchange": len(OURS) - 1},
    "budget_rows_exhausted": {"max_rows_total": len(OURS) - 1},
}
ON_DELIVERY = MANDATES.keys() - {
    "mandate_other_output",
    "mandate_over_rows",
    "budget_rows_exhausted",
}


def signed(stage: Stage, signers: dict[str, str], **changes: Any) -> bytes:
    """Return an envelope in which each party's place is signed by some party's key."""
    data = new_envelope(stage.mandate(**changes))
    for party, key in signers.items():
        data = sign_envelope(data, stage.homes[key].log_signer(), party=party)
    return data


def refused(stage: Stage, reason: str, error: PsishareError) -> None:
    """Assert that an offer was refused as it should be: told, logged by both, nothing spent."""
    assert (type(error), error.reason) == (AuthorisationError, reason)
    assert error.exit_code is ExitCode.REFUSED
    assert error.party == PLATFORM
    assert told(stage, PLATFORM) == told(stage, AUTHORITY) == [("exchange.refused", reason)]
    verdicts = verified(stage)
    (theirs,), (ours,) = (verdicts[party].exchanges for party in (PLATFORM, AUTHORITY))
    assert (theirs.exchange_id, theirs.rows) == (ours.exchange_id, len(OURS))
    assert stage.rooms().budget.open_exchanges() == ()


class Idle(ListOffering):
    """A list that must not be computed on."""

    def driver(self, *_: Any) -> Any:
        raise AssertionError("a group operation before the offer was admitted")


def idle(stage: Stage) -> ListOffering:
    listing = stage.listing(THEIRS)
    return Idle(**{name: getattr(listing, name) for name in listing.__dataclass_fields__})


def ask_ecdh(stage: Stage, **changes: Any) -> Any:
    return stage.ask(OURS, **({"protocol": suite.Protocol.ECDH} | changes))


@pytest.mark.parametrize("reason", MANDATES)
def test_platform_refuses_what_the_mandate_does_not_allow(stage: Stage, reason: str) -> None:
    platform = stage.responder(idle(stage))
    mandate = stage.envelope(**MANDATES[reason])
    error = failed(stage.asker(stage.channel(platform)), ask_ecdh(stage, mandate=mandate))
    refused(stage, reason, error)


@pytest.mark.parametrize("reason", sorted(ON_DELIVERY))
def test_platform_delivers_nothing_that_the_mandate_does_not_allow(
    stage: Stage, reason: str
) -> None:
    platform = stage.responder(stage.encode(THEIRS))
    mandate = stage.envelope(**MANDATES[reason])
    error = failed(stage.asker(stage.channel(platform)), stage.ask(OURS, mandate=mandate))
    assert (type(error), error.reason) == (AuthorisationError, reason)
    assert told(stage, PLATFORM) == told(stage, AUTHORITY) == [("dataset.refused", reason)]
    assert verified(stage)[PLATFORM].exchanges == ()
    assert not list(stage.homes[AUTHORITY].datasets_path.rglob("shard-*"))


SIGNERS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "mandate_unsigned": ({ISSUER: ISSUER}, {}),
    "mandate_issuer_untrusted": (
        {AUTHORITY: AUTHORITY, VALIDATOR: VALIDATOR},
        {"issuer": AUTHORITY},
    ),
    "mandate_validator_untrusted": (
        {ISSUER: ISSUER, AUTHORITY: AUTHORITY},
        {"validator": AUTHORITY},
    ),
    "mandate_signature_unknown": ({ISSUER: AUTHORITY, VALIDATOR: VALIDATOR}, {}),
}


@pytest.mark.parametrize("reason", SIGNERS)
def test_platform_refuses_a_mandate_that_the_wrong_keys_signed(stage: Stage, reason: str) -> None:
    signers, changes = SIGNERS[reason]
    mandate = signed(stage, signers, **changes)
    error = failed(
        stage.asker(stage.channel(stage.responder(idle(stage)))), ask_ecdh(stage, mandate=mandate)
    )
    # Two of the four lack a signature that is due before they hold one that is not.
    expected = "mandate_unsigned" if reason == "mandate_signature_unknown" else reason
    refused(stage, expected, error)


def test_platform_refuses_two_roles_signed_by_one_key(stage: Stage) -> None:
    mandate = stage.envelope()
    forged = _signed_twice_by_the_issuer(stage, mandate)
    error = failed(
        stage.asker(stage.channel(stage.responder(idle(stage)))), ask_ecdh(stage, mandate=forged)
    )
    refused(stage, "mandate_roles_not_distinct", error)


def _signed_twice_by_the_issuer(stage: Stage, mandate: bytes) -> bytes:
    """Return the envelope with the issuer's signature under the validator's key id as well."""
    fields = canonical.loads(mandate, max_bytes=len(mandate), what="the envelope")
    ids = {name: key_id(stage.homes[name].card.log_key) for name in (ISSUER, VALIDATOR)}
    by_id = {signature["keyid"]: signature for signature in fields["signatures"]}
    by_id[ids[VALIDATOR]]["sig"] = by_id[ids[ISSUER]]["sig"]
    return canonical.dumps(fields)


def test_platform_refuses_one_party_in_both_roles(stage: Stage) -> None:
    document = stage.mandate().model_dump(mode="json") | {"validator": ISSUER}
    data = new_envelope(Mandate.model_validate_json(json.dumps(document)))
    data = sign_envelope(data, stage.homes[ISSUER].log_signer(), party=ISSUER)
    error = failed(
        stage.asker(stage.channel(stage.responder(idle(stage)))), ask_ecdh(stage, mandate=data)
    )
    refused(stage, "mandate_roles_not_distinct", error)


def test_platform_refuses_a_mandate_swapped_for_another_than_the_offer_names(
    stage: Stage,
) -> None:
    other = stage.envelope()
    line = Line(
        stage.responder(idle(stage)),
        stage.caller(),
        requests={Call.OFFER: lambda request: setattr(request, "mandate", other)},
    )
    refused(stage, "mandate_mismatch", failed(stage.asker(line), ask_ecdh(stage)))


def test_platform_refuses_an_altered_mandate(stage: Stage) -> None:
    mandate = stage.envelope().replace(b'"sig":"', b'"sig":"AA', 1)
    with pytest.raises(AuthorisationError) as raised:
        stage.exchange(stage.responder(idle(stage)), ask_ecdh(stage, mandate=mandate))
    # The authority reads it first: nothing was entered, nothing was sent.
    assert raised.value.reason == "mandate_malformed"
    assert told(stage, PLATFORM) == told(stage, AUTHORITY) == []


OFFERS: dict[str, dict[str, Any]] = {
    "dataset_unknown": {"dataset": "suppliers"},
    "kind_mismatch": {"kind": "email"},
    "ruleset_mismatch": {"ruleset": Ruleset(version=7, digest="cd" * 32)},
    "output_unsupported": {"protocol": suite.Protocol.OPENMINED, "output": Output.COUNT},
}


@pytest.mark.parametrize("reason", OFFERS)
def test_platform_refuses_an_offer_on_what_it_does_not_serve(stage: Stage, reason: str) -> None:
    error = failed(
        stage.asker(stage.channel(stage.responder(idle(stage)))), ask_ecdh(stage, **OFFERS[reason])
    )
    refused(stage, reason, error)


def test_refusal_of_a_list_that_is_not_served_says_how_the_platform_would_serve_it(
    stage: Stage,
) -> None:
    error = failed(
        stage.asker(stage.channel(stage.responder(idle(stage)))),
        ask_ecdh(stage, **OFFERS["dataset_unknown"]),
    )
    mend = "Ask the platform to serve the list with --data, --key and --name."
    assert error.mend == f"{PLATFORM} says: {mend}"


def test_refusal_of_another_ruleset_says_which_version_each_side_has(stage: Stage) -> None:
    ours = Ruleset(version=7, digest="cd" * 32)
    error = failed(
        stage.asker(stage.channel(stage.responder(idle(stage)))), ask_ecdh(stage, ruleset=ours)
    )
    for ruleset in (ours, RULESET):
        assert f"version {ruleset.version} ({ruleset.digest[:12]})" in error.message


def test_platform_refuses_more_rows_than_the_list_allows(stage: Stage) -> None:
    listing = stage.listing(THEIRS)
    fields = {name: getattr(listing, name) for name in listing.__dataclass_fields__}
    narrow = Idle(**(fields | {"max_query": len(OURS) - 1}))
    error = failed(stage.asker(stage.channel(stage.responder(narrow))), ask_ecdh(stage))
    refused(stage, "over_max_query", error)


POLICIES = {
    "policy_min_rows": Policy(min_rows=len(OURS) + 1),
    "policy_max_rows": Policy(max_rows_per_exchange=len(OURS) - 1),
    "policy_kind": Policy(kinds=frozenset({"email"})),
    "policy_output": Policy(outputs=frozenset({"count"})),
}


@pytest.mark.parametrize("reason", POLICIES)
def test_platform_refuses_what_its_policy_does_not_allow(stage: Stage, reason: str) -> None:
    platform = stage.responder(idle(stage), policy=POLICIES[reason])
    refused(stage, reason, failed(stage.asker(stage.channel(platform)), ask_ecdh(stage)))


@pytest.mark.parametrize("minutes", [-10, 10])
def test_platform_refuses_an_offer_of_another_time(
    stage: Stage, minutes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "psishare.exchange.authority.now", lambda: now() + timedelta(minutes=minutes)
    )
    error = failed(stage.asker(stage.channel(stage.responder(idle(stage)))), ask_ecdh(stage))
    refused(stage, "clock_skew", error)


def test_clock_tolerance_is_the_platforms_to_set(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psishare.exchange.authority.now", lambda: now() - timedelta(minutes=10))
    platform = stage.responder(stage.listing(THEIRS), policy=Policy(clock_tolerance_s=3600))
    stage.exchange(platform, ask_ecdh(stage))
    assert told(stage, PLATFORM)[-1][0] == told(stage, AUTHORITY)[-1][0] == "exchange.closed"


def test_rows_and_exchanges_of_a_mandate_run_out(stage: Stage) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    mandate = stage.envelope(max_rows_total=2 * len(OURS) - 1, max_exchanges=2)
    ask = ask_ecdh(stage, mandate=mandate)
    stage.exchange(platform, ask)
    assert failed(stage.asker(stage.channel(platform)), ask).reason == "budget_rows_exhausted"
    few = stage.ask(OURS[:3], protocol=suite.Protocol.ECDH, mandate=mandate)
    stage.exchange(platform, few)
    error = failed(stage.asker(stage.channel(platform)), few)
    assert error.reason == "budget_exchanges_exhausted"
    refusals = [("exchange.refused", f"budget_{what}_exhausted") for what in ("rows", "exchanges")]
    assert [t for t in told(stage, PLATFORM) if t[1]] == refusals
    assert [t for t in told(stage, AUTHORITY) if t[1]] == refusals
    usage = stage.rooms().budget.usage(read_envelope(mandate).mandate.id)
    assert (usage.rows, usage.exchanges) == (len(OURS) + 3, 2)
    verified(stage)


def test_a_refused_offer_stays_refused_and_is_logged_once(stage: Stage) -> None:
    line = Line(stage.responder(idle(stage)), stage.caller())
    failed(
        stage.asker(line), ask_ecdh(stage, mandate=stage.envelope(**MANDATES["mandate_expired"]))
    )
    before = told(stage, PLATFORM)
    for _ in range(3):
        with pytest.raises(AuthorisationError, match="refused before") as again:
            line.again(Call.OFFER)
        assert again.value.reason == "mandate_expired"
    assert told(stage, PLATFORM) == before


def test_an_unreadable_offer_is_refused_and_logged(stage: Stage) -> None:
    def garble(request: Any) -> None:
        request.offer.document = request.offer.document.replace(b'"rows":20', b'"rows":-1')

    line = Line(stage.responder(idle(stage)), stage.caller(), requests={Call.OFFER: garble})
    error = failed(stage.asker(line), ask_ecdh(stage))
    assert error.reason == "document_malformed"
    assert "rows" in error.message
    assert (
        told(stage, PLATFORM)
        == told(stage, AUTHORITY)
        == [("exchange.refused", "document_malformed")]
    )
    verified(stage)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace(b'"version":1,"wire', b'"wire'),
        lambda text: text.replace(b'"version":1,"wire', b'"version":true,"wire'),
        lambda text: text.replace(b'"rows":20', b'"rows":20.0'),
        lambda text: text.replace(b'"rows":20', b'"rows": 20'),
        lambda text: text.replace(b'"rows":20', b'"rows":20,"rows":20'),
        lambda text: text.replace(b'"rows":20', b'"rows":20,"secret-value":1'),
        lambda text: text[:-1],
        lambda text: b"",
        lambda text: b"[]",
        lambda text: b"\xff\xfe",
        lambda text: b'{"a":' * 2000 + b"1" + b"}" * 2000,
        lambda text: text + b" " * 65_536,
    ],
)
def test_every_other_spelling_of_an_offer_is_refused(
    stage: Stage, spoil: Callable[[bytes], bytes]
) -> None:
    def respell(request: Any) -> None:
        request.offer.document = spoil(request.offer.document)

    line = Line(stage.responder(idle(stage)), stage.caller(), requests={Call.OFFER: respell})
    error = failed(stage.asker(line), ask_ecdh(stage))
    assert error.reason == "document_malformed"
    assert "secret-value" not in error.message
    assert [e for e, _ in told(stage, PLATFORM)] == ["exchange.refused"]
    verified(stage)


def test_an_offer_that_is_not_signed_by_its_authority_is_refused(stage: Stage) -> None:
    def resign(request: Any) -> None:
        request.offer.signature = stage.homes[ISSUER].log_signer().sign(request.offer.document)

    line = Line(stage.responder(idle(stage)), stage.caller(), requests={Call.OFFER: resign})
    error = failed(stage.asker(line), ask_ecdh(stage))
    assert error.reason == "signature_invalid"
    assert (
        told(stage, PLATFORM)
        == told(stage, AUTHORITY)
        == [("exchange.refused", "signature_invalid")]
    )
    verified(stage)


def test_an_epoch_that_is_too_old_for_the_policy_is_neither_delivered_nor_asked(
    stage: Stage,
) -> None:
    young, policy = stage.encode(THEIRS), Policy(max_epoch_days=30)
    stage.exchange(stage.responder(young, policy=policy), stage.ask(OURS))
    old = stage.encode(THEIRS)
    old.epoch_began = now() - timedelta(days=30, seconds=1)
    error = failed(stage.asker(stage.channel(stage.responder(old, policy=policy))), stage.ask(OURS))
    assert (type(error), error.reason) == (AuthorisationError, "policy_epoch_age")
    refusal = ("dataset.refused", "policy_epoch_age")
    assert told(stage, PLATFORM)[-1] == told(stage, AUTHORITY)[-1] == refusal
    # Whoever holds it already does not ask it either.
    young.epoch_began = now() - timedelta(days=31)
    platform = stage.responder(young, policy=policy)
    error = failed(stage.asker(stage.channel(platform)), stage.ask(OURS))
    assert error.reason == "policy_epoch_age"
    verified(stage)


def test_a_mandate_for_more_is_needed_for_a_newer_dataset(stage: Stage) -> None:
    mandate = stage.envelope()
    stage.exchange(stage.responder(stage.encode(THEIRS)), stage.ask(OURS, mandate=mandate))
    newer = stage.responder(stage.encode(THEIRS[1:]))
    error = failed(stage.asker(stage.channel(newer)), stage.ask(OURS, mandate=mandate))
    assert (type(error), error.reason) == (AuthorisationError, "mandate_not_standing")
    refusal = ("dataset.refused", "mandate_not_standing")
    assert told(stage, PLATFORM)[-1] == told(stage, AUTHORITY)[-1] == refusal
    standing = stage.envelope(standing=True)
    for epoch in (THEIRS[2:], THEIRS[3:]):
        stage.exchange(stage.responder(stage.encode(epoch)), stage.ask(OURS, mandate=standing))
    verified(stage)


def test_a_dataset_that_is_not_served_is_not_delivered(stage: Stage) -> None:
    platform = stage.responder(stage.encode(THEIRS))
    ask = stage.ask(OURS, dataset="suppliers")
    error = failed(stage.asker(stage.channel(platform)), ask)
    assert error.reason == "dataset_unknown"
    assert (
        told(stage, PLATFORM) == told(stage, AUTHORITY) == [("dataset.refused", "dataset_unknown")]
    )
    verified(stage)


def test_a_refusal_of_a_delivery_names_the_mandate_and_no_name_that_cannot_be(
    stage: Stage,
) -> None:
    line = Line(stage.responder(stage.encode(THEIRS)), stage.caller())
    with pytest.raises(AuthorisationError):
        line.call(Call.MANIFEST, wire.ManifestRequest(dataset="+4915100", mandate=b"{}"))
    (entry,) = [e for e in entries(stage, PLATFORM) if e.type == "dataset.refused"]
    assert entry.fields == {
        "dataset": None,
        "peer": AUTHORITY,
        "reason": "dataset_unknown",
        "mandate_sha256": hashlib.sha256(b"{}").hexdigest(),
    }


def test_nothing_but_our_own_errors_leaves_a_refused_exchange(stage: Stage) -> None:
    platform = stage.responder(idle(stage))
    for mandate in (b"", b"{}", b"\x00" * 100, b'{"payload":"","payloadType":"","signatures":[]}'):
        error = run(stage.asker(stage.channel(platform)), ask_ecdh(stage, mandate=mandate))
        assert isinstance(error, AuthorisationError)
