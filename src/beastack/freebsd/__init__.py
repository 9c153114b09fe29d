"""What a FreeBSD host can do, as typed Python. Imports nothing of OpenStack and nothing else of ours.

Whatever runs a command may raise CommandFailed or a kind of it, CommandTimedOut, ProgramMissing (``host.Host.run``);
docstrings name what is to be expected, or comes besides. Sizes are bytes, times seconds, unless they say so.
"""
