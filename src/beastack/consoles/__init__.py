"""Consoles over the network: one small service a host, between nova's proxies and the guests' supervisors."""
