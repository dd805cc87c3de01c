"""The names in a log's folder beside its tiles (protocols/specs/audit-log.md, section 6)."""

from __future__ import annotations

from typing import Final

CHECKPOINT: Final = "checkpoint"
"""The newest checkpoint, as tlog-tiles has it."""
CHECKPOINTS: Final = "checkpoints"
"""Every checkpoint ever signed, each under its tree size in decimal, with its cosignatures."""
INTENT: Final = "intent"
"""The text of the checkpoint that is about to be signed; spent once the head has reached it."""
LOCK: Final = "lock"
MAX_APPENDED: Final = 256
"""The most entries under one new checkpoint, which bounds what a cut-off append leaves behind."""
