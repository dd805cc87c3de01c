"""A witness that speaks C2SP's tlog-witness, on the loopback interface: strict, small, its state in memory.

It verifies what it is shown with psishare's parsers and proofs, and keeps to the specification's order of
refusals. ``broken`` makes it answer otherwise than a witness should.
"""

from __future__ import annotations

import base64
import contextlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from psishare.audit.cosignature import cosign
from psishare.audit.merkle import verify_consistency
from psishare.audit.signed_checkpoint import verify_checkpoint
from psishare.errors import VerificationError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from audit_examples import Party

    from psishare.audit.checkpoint import Checkpoint
    from psishare.keys.log_keys import LogKeys

BODY = re.compile(rb"old (0|[1-9][0-9]*)\n((?:[A-Za-z0-9+/]{43}=\n){0,63})\n(.*)", re.DOTALL)
Answer = tuple[int, str, bytes]


class Witness:
    """What a witness knows, and how it answers.

    Args:
        party: whose keys it cosigns with.
        logs: the keys of the logs that it takes, by origin.
    """

    def __init__(self, party: Party, logs: dict[str, LogKeys]) -> None:
        self.party = party
        self.logs = logs
        self.seen: dict[str, Checkpoint] = {}
        self.calls: list[bytes] = []
        self.broken: Callable[[Answer], Answer] = lambda answer: answer
        self.url = ""

    def answer(self, body: bytes) -> Answer:
        self.calls.append(body)
        match = BODY.fullmatch(body)
        if match is None:
            return 400, "text/plain", b"malformed\n"
        old, lines, note = int(match[1]), match[2].split(), match[3]
        keys = self.logs.get(note.split(b"\n", 1)[0].decode())
        if keys is None:
            return 404, "text/plain", b"unknown log\n"
        try:
            new = verify_checkpoint(note, keys)
        except VerificationError:
            return 403, "text/plain", b"not signed\n"
        known = self.seen.get(new.origin)
        size = known.tree_size if known else 0
        if old > new.tree_size:
            return 400, "text/plain", b"old is larger\n"
        if old != size:
            return 409, "text/x.tlog.size", b"%d\n" % size
        return self._extended(known, new, [base64.b64decode(line) for line in lines])

    def _extended(self, known: Checkpoint | None, new: Checkpoint, proof: list[bytes]) -> Answer:
        try:
            if known is not None:
                verify_consistency(
                    known.tree_size, known.root_hash, new.tree_size, new.root_hash, proof
                )
            elif proof:
                return 422, "text/plain", b"proof from nothing\n"
        except VerificationError:
            return 422, "text/plain", b"inconsistent\n"
        self.seen[new.origin] = new
        return 200, "text/plain", cosign(new, self.party.cosigners, time=1_785_000_000)

    @contextlib.contextmanager
    def serving(self, tls: ssl.SSLContext | None = None) -> Iterator[Witness]:
        """Answer calls until the block ends, over TLS where a context is given."""
        witness = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path != "/add-checkpoint":
                    body = b""
                status, kind, data = witness.broken(witness.answer(body))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Say nothing of a caller who does not like the certificate."""

        server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
