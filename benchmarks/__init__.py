"""Measurements of psishare beside its peers."""
