"""Where the guests' disks are: ZFS volumes where a pool is configured, else plain files; one interface."""
