"""A platform's evaluated identifiers: encode them, keep them, hand them over, look them up."""
