"""The audit log alone: entries, Merkle tree, tiles, notes, checkpoints, cosignatures.

The formats are C2SP's (protocols/specs/audit-log.md); any C2SP tool can verify a log. Plain Python,
short enough to be read by whoever has to rely on it. What an exchange means is not known here.
"""
