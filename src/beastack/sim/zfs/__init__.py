"""zfs(8) and zpool(8) of a simulated host: datasets in a table, volumes as sparse files, /dev/zvol as links to them.

Both run on the caller's side under one lock, so that a long copy never stops the engine. Contents that cannot be shared
are copied (a reflink where Linux's file system has it). File systems are names and properties only: none is mounted.
Sizes of what is used follow the blocks that the files occupy; they are near FreeBSD's, not equal to them.
"""
