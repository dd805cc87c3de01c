"""Web addresses, as browsers read them (identifiers.md, 8)."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import ada_url
import pyarrow.compute as pc

from psishare.identifiers.domain import Domain
from psishare.identifiers.kind import Kind
from psishare.identifiers.reject import Reason, Unacceptable

if TYPE_CHECKING:
    import pyarrow as pa

_SCHEME = re.compile("https?://", re.IGNORECASE)
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# Hosts of letters, a path without dots and escapes: nothing in them is ever written otherwise.
_LABEL = "[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_PLAIN = rf"\Ahttps?://(?:{_LABEL}\.)+[a-z](?:[a-z0-9_-]*[a-z0-9_])?/[A-Za-z0-9_~/-]*\z"
_DOUBTFUL = r"\A[a-z]+://[^/]*(?:[^./]{64}|\.xn--)|\A[a-z]+://xn--|\A[a-z]+://[^/]{254}"


class Url(Kind):
    """A web address."""

    name = "url"
    summary = "web address (http, https), as browsers read it; fragment dropped"
    note = (
        "What follows # is dropped, for it never reaches a server. Path and query are kept with their"
        " case, order and last slash; http and https stay apart. Addresses with a user name are"
        " refused."
    )
    _domain = Domain()

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Take plain lower-case hosts with a path of letters, digits, hyphens and slashes."""
        form = pc.match_substring_regex(values, _PLAIN)
        return pc.and_(form, pc.invert(pc.match_substring_regex(values, _DOUBTFUL)))

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the address as ``ada_url`` writes it, with the host of ``domain``."""
        if any(unicodedata.category(c) == "Cc" for c in value):
            raise Unacceptable(Reason.CONTROL)
        if not _SCHEME.match(value):
            raise Unacceptable(Reason.NO_SCHEME)
        url = _parsed(value)
        if url.username or url.password:
            raise Unacceptable(Reason.USER_INFO)
        port = f":{url.port}" if url.port else ""
        return f"{url.protocol}//{self._host(url)}{port}{_escaped(url.pathname + url.search)}"

    def _host(self, url: ada_url.URL) -> str:
        if url.host_type is ada_url.HostType.DEFAULT:
            return self._domain.canonical(url.hostname, None)
        return str(url.hostname)


def _parsed(value: str) -> ada_url.URL:
    try:
        return ada_url.URL(value)
    except ValueError:
        pass
    raise Unacceptable(Reason.MALFORMED)


def _escaped(text: str) -> str:
    """Write escapes in capitals, and what needs none without (RFC 3986 section 6.2.2)."""
    return _ESCAPE.sub(_one_escape, text)


def _one_escape(found: re.Match[str]) -> str:
    (byte,) = unquote_to_bytes(found[0])
    return chr(byte) if byte in _UNRESERVED else found[0].upper()
