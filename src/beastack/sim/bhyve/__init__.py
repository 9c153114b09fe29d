"""bhyve(8) and bhyvectl(8) of a simulated host: their words, exit statuses, consoles and signals over QEMU.

`main` and `bhyvectl` are the programs. A command line becomes a tree of settings (`options`, `devices`, `config`) as
bhyve makes it, that becomes QEMU's arguments (`machine`), and `run` lives through the guest's life. What a virtual
machine leaves on its host is in `vmm`.
"""
