"""A small real guest made of Debian packages: kernel, busybox and dropbear in one EFI program on a GPT disk.

`build` needs no root, no loop device and installs nothing: packages are downloaded and unpacked. The result depends
on nothing but the versions of the packages and the files of this package, so it is kept under a key made of those.
By hand: `python -m beastack.cloud.guestimage --out FILE`.

The guest is for looking at a cloud from inside: it takes its address by DHCP (options 121, 26 and 12 too), reads the
metadata, accepts the keypair's key for root over SSH, and **its serial console is a root shell** without a password.
It says what it does on ttyS0, one line each: `beastack-guest: up`, `address A/N`, `metadata instance-id I`, `ready`.
"""

from beastack.cloud.guestimage.builder import MIN_RAM_MIB, BuildFailed, GuestImage, build
from beastack.cloud.guestimage.packages import GUEST_PACKAGES, PACKAGES

__all__ = ["GUEST_PACKAGES", "MIN_RAM_MIB", "PACKAGES", "BuildFailed", "GuestImage", "build"]
