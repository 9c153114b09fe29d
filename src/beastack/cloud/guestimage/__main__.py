"""`python -m beastack.cloud.guestimage --out FILE`: build the guest image by hand."""

import argparse
import sys
from pathlib import Path

from beastack.cloud.guestimage.builder import BuildFailed, build

DEFAULT_WORK = Path("/var/cache/beastack/guestimage")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m beastack.cloud.guestimage", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the image to write (qcow2)")
    parser.add_argument("--workdir", type=Path, default=DEFAULT_WORK, help="keeps packages and images (%(default)s)")
    given = parser.parse_args()
    try:
        image = build(given.workdir, given.out, lambda text: print(text, file=sys.stderr))
    except (BuildFailed, OSError) as error:
        print(f"guestimage: {error}", file=sys.stderr)
        return 1
    print(f"{image.path}: {image.format}, disk {image.disk_bytes} bytes, version {image.version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
