"""The life of one simulated host, seen from the root namespace: start, enter, stop."""
