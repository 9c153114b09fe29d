"""Security groups as pf rules."""
