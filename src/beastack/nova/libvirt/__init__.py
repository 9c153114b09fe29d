"""The second way to bhyve: libvirt's driver, `bhyve:///system` (the first is beastack.nova.guest)."""
