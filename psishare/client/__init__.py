"""The library's face: what a compliance system calls, and what the command line calls.

A ``Party`` is an opened home folder. An authority connects and matches; a platform encodes and
serves::

    with Party.open("authority-home") as party, party.connect("tele", "tele.example:7447") as session:
        match = session.match(table, key="phone=number", dataset="customers", mandate=envelope)
    match.matches, match.receipt

Promises: no result without a doubly signed receipt in this party's log.
"""

from __future__ import annotations

from psishare.client.air_gap import AirGap, OfflineAnswer, OfflineRequest
from psishare.client.approval import HeldOffer, decide_on_offer, held_offer
from psishare.client.async_air_gap import AsyncAirGap
from psishare.client.async_party import AsyncParty, AsyncServer, AsyncSession
from psishare.client.cancellation import Cancellation
from psishare.client.checked_list import check_list
from psishare.client.enrolment import init_party, pin_peer, revoke_peer, set_passphrase, unpin_peer
from psishare.client.kind_description import KindDescription, describe_kind, kind_names
from psishare.client.log_rotation import retire_log_keys, rotate_log_keys
from psishare.client.mandate import (
    DraftedMandate,
    draft_mandate,
    import_mandate,
    import_revocations,
    revoke_mandates,
    verify_mandate,
)
from psishare.client.match import Match, Summary
from psishare.client.opened_home import log_size
from psishare.client.party import Party
from psishare.client.policy_check import OfferTerms, PolicyCheck, check_offer, check_policy
from psishare.client.rehearsal import DryRun, dry_run
from psishare.client.renewal import (
    announce_certificate,
    certificate_warnings,
    renew_sealing_key,
    switch_certificate,
)
from psishare.client.request import (
    PreparedRequest,
    SignedMandate,
    request_mandate,
    sign_mandate,
)
from psishare.client.served_list import ListSource
from psishare.client.server import Server
from psishare.client.session import Session
from psishare.client.succession import pin_successor, succeed_party
from psishare.client.witnessing import Witnessed, Witnessing, ask_witnesses
from psishare.exchange.left_open import Resumable
from psishare.exchange.list_quality import ListQuality
from psishare.exchange.prepared_list import KeyColumn
from psishare.exchange.publication import Revoked
from psishare.exchange.row_counts import RowCounts
from psishare.keys.passphrase import Passphrase
from psishare.tables import Table, open_table
from psishare.transport.limits import Limits

__all__ = [
    "AirGap",
    "AsyncAirGap",
    "AsyncParty",
    "AsyncServer",
    "AsyncSession",
    "Cancellation",
    "DraftedMandate",
    "DryRun",
    "HeldOffer",
    "KeyColumn",
    "KindDescription",
    "Limits",
    "ListQuality",
    "ListSource",
    "Match",
    "OfferTerms",
    "OfflineAnswer",
    "OfflineRequest",
    "Party",
    "Passphrase",
    "PolicyCheck",
    "PreparedRequest",
    "Resumable",
    "Revoked",
    "RowCounts",
    "Server",
    "Session",
    "SignedMandate",
    "Summary",
    "Table",
    "Witnessed",
    "Witnessing",
    "announce_certificate",
    "ask_witnesses",
    "certificate_warnings",
    "check_list",
    "check_offer",
    "check_policy",
    "decide_on_offer",
    "describe_kind",
    "draft_mandate",
    "dry_run",
    "held_offer",
    "import_mandate",
    "import_revocations",
    "init_party",
    "kind_names",
    "log_size",
    "open_table",
    "pin_peer",
    "pin_successor",
    "renew_sealing_key",
    "request_mandate",
    "retire_log_keys",
    "revoke_mandates",
    "revoke_peer",
    "rotate_log_keys",
    "set_passphrase",
    "sign_mandate",
    "succeed_party",
    "switch_certificate",
    "unpin_peer",
    "verify_mandate",
]
