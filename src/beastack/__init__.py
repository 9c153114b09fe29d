"""Beastack: unmodified upstream OpenStack on FreeBSD hosts."""
