"""What the simulator asks of the Linux kernel: namespaces, mounts, rtnetlink and TAP devices."""
