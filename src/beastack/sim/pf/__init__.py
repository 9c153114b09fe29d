"""pf(4) of a simulated host: rules, anchors, tables and states, without input or output of its own."""

from beastack.sim.pf.engine import Pf
from beastack.sim.pf.model import Result

__all__ = ["Pf", "Result"]
