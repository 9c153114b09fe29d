"""The supervisor of one guest: a small process between bhyve and everyone else (`beastack-guest`)."""
