"""The services' configuration, rendered: pure functions from a layout and its secrets to files' texts."""
