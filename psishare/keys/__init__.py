"""Keys, and what is done with them alone: sign, verify, seal, and keep on disk.

Lowest room of the house: it knows nothing of logs, cards, mandates or exchanges.
"""
