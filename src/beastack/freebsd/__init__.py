"""What a FreeBSD host can do, as typed Python. Imports nothing of OpenStack and nothing else of ours."""
