"""An exchange: the offer, the frames, the receipt, and each side's part in it.

The order of steps is fixed in protocols/specs/exchange.md; ``platform`` and ``authority`` follow it
a step a line. The documents (``offer``, ``receipt``, ``transcript``) are plain Python, so that an
auditor's tools read them without the native extension.
"""
