"""Protocol drivers: what one party computes in an exchange, over a channel of frames.

A driver knows neither mandates nor logs nor sockets: it sees canonical identifiers, secrets and a
``FrameChannel``, and runs in memory as it does over a network.
"""
