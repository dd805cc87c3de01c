"""Calls between two parties: in memory, and gRPC over mutual TLS.

A ``Channel`` carries one call to one peer and brings back its answer or an error; a ``Responder``
answers. What the calls mean is not this room's business, nor is which transport is chosen.

The C core of gRPC writes to standard error what peers send it while they connect, and reads how much
of that is wanted once, when it is first imported. It is told to be silent before anything in this
room can import it, unless the operator has asked for its lines.
"""

from __future__ import annotations

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
