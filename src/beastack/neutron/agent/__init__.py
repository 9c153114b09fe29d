"""The bridge agent of a FreeBSD host."""
