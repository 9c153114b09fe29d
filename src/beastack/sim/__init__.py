"""Simulated FreeBSD hosts for Linux: an independent second reading of FreeBSD (imports nothing else of beastack)."""
