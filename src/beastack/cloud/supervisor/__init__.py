"""The supervisor of one cloud's services: a fork server that keeps them running.

Why our own (docs/decisions/0001-supervisor.md): each OpenStack service spends 2 s on imports that they all share;
forking them from a process that has imported once is what makes start-up and memory goals reachable.
"""
