"""Parties: a party's home folder, its card, its TLS certificate and the peers that it has pinned."""
