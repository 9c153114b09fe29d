"""The pure model of FreeBSD's network interfaces: no I/O, no clocks of its own."""
