"""What `up` makes in a new cloud through its public APIs, so that there is a guest to look at.

Everything is found by its name first: what is there stays as it is, and a second `up` makes nothing.
"""
