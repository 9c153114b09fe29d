"""The command line: one small module per sub-command, put together in ``main``."""
