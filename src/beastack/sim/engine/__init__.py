"""The engine: PID 1 of a simulated host, owner of its interfaces, jails and sysctls, switch of its frames."""
