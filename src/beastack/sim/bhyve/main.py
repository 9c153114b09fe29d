"""bhyve(8): `python -m beastack.sim.bhyve.main ARGS`."""

import sys

from beastack.sim.bhyve import options
from beastack.sim.bhyve.errors import Ended
from beastack.sim.bhyve.run import Guest


def main() -> int:
    try:
        return Guest(options.parse(sys.argv[1:])).run()
    except Ended as end:
        sys.stderr.write(end.err)
        sys.stdout.write(end.out)
        sys.stdout.flush()
        return end.status


if __name__ == "__main__":
    sys.exit(main())
