"""The policy's rules, held against what is asked: pure functions, in the order of their reasons.

Only what the policy has a key for is a rule. Source: protocols/specs/mandate.md, section 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.mandates.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from psishare.mandates.asked import Asked
    from psishare.mandates.check import Delivery, Request
    from psishare.mandates.envelope import VerifiedMandate
    from psishare.mandates.mandate import Mandate
    from psishare.mandates.policy import Policy, Validators


def policy_rules(policy: Policy, asked: Asked, now: datetime) -> Iterator[Rule]:
    """Yield every rule of a policy that bears on what is asked, in order.

    Args:
        policy: the platform's.
        asked: what is asked for, under what.
        now: the platform's clock, with a time zone.
    """
    request = asked.request
    yield from _parties(policy, asked.mandate.issuer, request.authority)
    yield from _kind(policy, request.kind)
    yield from _output(policy, request.output)
    yield from _dataset(policy, request.protocol, request.dataset)
    yield from _validators(policy, asked)
    yield from _emergency(policy, asked)
    yield from _lists(policy, asked.mandate)
    yield from _sizes(policy, asked)
    if (rule := policy.epoch_rule(asked.epoch_began, now)) is not None:
        yield rule
    yield from _hours(policy, asked, now)


def delivery_rules(
    policy: Policy,
    verified: VerifiedMandate,
    delivery: Delivery,
    *,
    epoch_began: datetime | None,
    now: datetime,
) -> Iterator[Rule]:
    """Yield every rule of a policy that bears on delivering a dataset, in order.

    Args:
        policy: the platform's.
        verified: the mandate.
        delivery: of what, to whom.
        epoch_began: when the dataset's epoch began, with a time zone.
        now: the platform's clock, with a time zone.
    """
    yield from _parties(policy, verified.mandate.issuer, delivery.authority)
    yield from _kind(policy, delivery.kind)
    yield from _dataset(policy, "oprf", delivery.dataset)
    if not verified.validated:
        yield from _emergency_authority(policy, delivery.authority)
    if (rule := policy.epoch_rule(epoch_began, now)) is not None:
        yield rule


def approval_rules(policy: Policy, asked: Asked) -> Iterator[Rule]:
    """Yield the rules by which an offer is held; they pass once it is approved."""
    for wanted, why in _needing_approval(policy, asked):
        if wanted:
            yield Rule(
                asked.approved,
                "approval_required",
                f"a second operator of the platform has to approve {why}",
            )


def _parties(policy: Policy, issuer: str, authority: str) -> Iterator[Rule]:
    if policy.issuers is not None:
        message = f"the policy takes no mandates that {issuer} issues"
        yield Rule(issuer in policy.issuers, "policy_issuer", message)
    if policy.authorities is not None:
        message = f"the policy does not let {authority} ask"
        yield Rule(authority in policy.authorities, "policy_authority", message)


def _kind(policy: Policy, kind: str) -> Iterator[Rule]:
    if policy.kinds is not None:
        message = "the policy does not allow exchanges about this kind"
        yield Rule(kind in policy.kinds, "policy_kind", message)


def _output(policy: Policy, output: str) -> Iterator[Rule]:
    if policy.outputs is not None:
        message = f"the policy does not allow the output {output}"
        yield Rule(output in policy.outputs, "policy_output", message)


def _dataset(policy: Policy, protocol: str, dataset: str | None) -> Iterator[Rule]:
    if policy.protocols is not None:
        message = f"the policy does not allow the protocol {protocol}"
        yield Rule(protocol in policy.protocols, "policy_protocol", message)
    if policy.datasets is not None:
        message = "the policy does not allow exchanges on this dataset"
        yield Rule(dataset in policy.datasets, "policy_dataset", message)


def _validators(policy: Policy, asked: Asked) -> Iterator[Rule]:
    role = asked.mandate.validator_role
    if policy.validator_roles is not None:
        message = f"the policy takes no mandate that a {role} validates"
        yield Rule(role in policy.validator_roles, "policy_validator_role", message)
    for wanted in policy.validators:
        if _bears_on(wanted, asked.request):
            message = (
                f"the policy wants a mandate validated by a {' or '.join(sorted(wanted.roles))};"
                f" this one's validator is a {role}"
            )
            yield Rule(role in wanted.roles, "policy_validator_role", message)


def _bears_on(wanted: Validators, request: Request) -> bool:
    return (wanted.kinds is None or request.kind in wanted.kinds) and (
        wanted.outputs is None or request.output in wanted.outputs
    )


def _emergency(policy: Policy, asked: Asked) -> Iterator[Rule]:
    if not asked.is_emergency:
        return
    allowed, rows = policy.emergency, asked.request.rows
    message = "the policy takes no mandate without its validator, emergency or not"
    yield Rule(allowed.allowed, "policy_emergency", message)
    yield from _emergency_authority(policy, asked.request.authority)
    if (most := allowed.max_rows) is not None:
        message = f"{rows:,} rows are asked for; the policy allows {most:,} in an emergency"
        yield Rule(rows <= most, "policy_emergency_rows", message)


def _emergency_authority(policy: Policy, authority: str) -> Iterator[Rule]:
    if (allowed := policy.emergency.authorities) is not None:
        message = f"the policy takes no emergencies of {authority}"
        yield Rule(authority in allowed, "policy_emergency_authority", message)


def _lists(policy: Policy, mandate: Mandate) -> Iterator[Rule]:
    if policy.approved_lists is None:
        return
    sealed = mandate.sealed_request is not None
    committed = sealed or mandate.input_commitment is not None
    passes = sealed if policy.approved_lists == "sealed" else committed
    message = f"the policy takes only mandates that approve one list ({policy.approved_lists})"
    yield Rule(passes, "policy_list_not_approved", message)


def _sizes(policy: Policy, asked: Asked) -> Iterator[Rule]:
    rows, held = asked.request.rows, asked.dataset_rows
    if (least := policy.min_rows) > 0:
        message = f"{rows:,} rows are asked for; the policy wants at least {least:,}"
        yield Rule(rows >= least, "policy_min_rows", message)
    if (most := policy.max_rows_per_exchange) is not None:
        message = f"{rows:,} rows are asked for; the policy allows {most:,} an exchange"
        yield Rule(rows <= most, "policy_max_rows", message)
    if (share := policy.max_share_of_dataset) is not None:
        # Where nobody knows how much the dataset holds, no list is small beside it.
        largest = int(share * held) if held is not None else 0
        message = (
            f"{rows:,} rows are asked for; the policy allows {share} of the dataset, {largest:,}"
        )
        yield Rule(rows <= largest, "policy_max_share", message)


def _hours(policy: Policy, asked: Asked, now: datetime) -> Iterator[Rule]:
    if policy.hours is None or (asked.is_emergency and policy.emergency.outside_hours):
        return
    local = policy.local(now)
    message = f"the policy opens no exchange at {local:%H:%M} on a {local:%A} ({policy.timezone})"
    yield Rule(any(hours.hold(local) for hours in policy.hours), "policy_outside_hours", message)


def _needing_approval(policy: Policy, asked: Asked) -> Iterator[tuple[bool, str]]:
    rule, request = policy.approval, asked.request
    yield rule.always, "every offer"
    if (most := rule.above_rows) is not None:
        yield request.rows > most, f"offers of more than {most:,} rows"
    yield request.kind in (rule.kinds or ()), "offers about this kind"
    yield request.output in (rule.outputs or ()), f"offers for the output {request.output}"
    yield request.authority in (rule.authorities or ()), f"offers of {request.authority}"
    yield rule.emergency and asked.is_emergency, "offers in an emergency"
