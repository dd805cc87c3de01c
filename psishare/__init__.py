"""psishare: private set intersection under a signed mandate, with a signed record of every exchange.

The library's face is ``psishare.client``; its names are handed on here, and loaded when first used,
so that an auditor's tools run without the native extension.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psishare.client import AirGap as AirGap
    from psishare.client import AsyncAirGap as AsyncAirGap
    from psishare.client import AsyncParty as AsyncParty
    from psishare.client import AsyncServer as AsyncServer
    from psishare.client import AsyncSession as AsyncSession
    from psishare.client import Cancellation as Cancellation
    from psishare.client import DraftedMandate as DraftedMandate
    from psishare.client import DryRun as DryRun
    from psishare.client import HeldOffer as HeldOffer
    from psishare.client import KeyColumn as KeyColumn
    from psishare.client import KindDescription as KindDescription
    from psishare.client import Limits as Limits
    from psishare.client import ListQuality as ListQuality
    from psishare.client import ListSource as ListSource
    from psishare.client import Match as Match
    from psishare.client import OfferTerms as OfferTerms
    from psishare.client import OfflineAnswer as OfflineAnswer
    from psishare.client import OfflineRequest as OfflineRequest
    from psishare.client import Party as Party
    from psishare.client import Passphrase as Passphrase
    from psishare.client import PolicyCheck as PolicyCheck
    from psishare.client import PreparedRequest as PreparedRequest
    from psishare.client import RowCounts as RowCounts
    from psishare.client import Server as Server
    from psishare.client import Session as Session
    from psishare.client import SignedMandate as SignedMandate
    from psishare.client import Summary as Summary
    from psishare.client import Table as Table
    from psishare.client import Witnessed as Witnessed
    from psishare.client import Witnessing as Witnessing
    from psishare.client import announce_certificate as announce_certificate
    from psishare.client import ask_witnesses as ask_witnesses
    from psishare.client import certificate_warnings as certificate_warnings
    from psishare.client import check_list as check_list
    from psishare.client import check_offer as check_offer
    from psishare.client import check_policy as check_policy
    from psishare.client import decide_on_offer as decide_on_offer
    from psishare.client import describe_kind as describe_kind
    from psishare.client import draft_mandate as draft_mandate
    from psishare.client import dry_run as dry_run
    from psishare.client import held_offer as held_offer
    from psishare.client import import_mandate as import_mandate
    from psishare.client import import_revocations as import_revocations
    from psishare.client import init_party as init_party
    from psishare.client import kind_names as kind_names
    from psishare.client import log_size as log_size
    from psishare.client import open_table as open_table
    from psishare.client import pin_peer as pin_peer
    from psishare.client import pin_successor as pin_successor
    from psishare.client import renew_sealing_key as renew_sealing_key
    from psishare.client import request_mandate as request_mandate
    from psishare.client import retire_log_keys as retire_log_keys
    from psishare.client import revoke_mandates as revoke_mandates
    from psishare.client import revoke_peer as revoke_peer
    from psishare.client import rotate_log_keys as rotate_log_keys
    from psishare.client import set_passphrase as set_passphrase
    from psishare.client import sign_mandate as sign_mandate
    from psishare.client import succeed_party as succeed_party
    from psishare.client import switch_certificate as switch_certificate
    from psishare.client import unpin_peer as unpin_peer
    from psishare.client import verify_mandate as verify_mandate

__version__ = metadata.version("psishare")
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


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("psishare.client"), name)
    raise AttributeError(f"module 'psishare' has no attribute {name!r}")
