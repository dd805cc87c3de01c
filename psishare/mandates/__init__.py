"""Mandates: the document, its envelope, its check, the platform's policy and the budget."""
