"""Open vSwitch on a simulated host: Debian's programs, its daemons' start, and BPF for the ports they open."""
