"""Calls between two parties: in memory, and gRPC over mutual TLS.

A ``Channel`` carries one call to one peer and brings back its answer or an error; a ``Responder``
answers. What the calls mean is not this room's business, nor is which transport is chosen.

Two things can be told to gRPC's C core through the environment alone, which it reads once, when it is
first imported; so they are set before anything in this room can import it. What the operator has set
stays.

- Silence: it writes to standard error what strangers send it while they connect.
- TLS 1.3 and nothing older, for which it has no option. Every certificate here is ECDSA, so a list of
  TLS 1.2's suites that are for RSA alone leaves none to agree on; TLS 1.3's are not concerned. Another
  user of gRPC in the same process can still reach old servers that have RSA certificates.
"""

from __future__ import annotations

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault(
    "GRPC_SSL_CIPHER_SUITES",
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305",
)
