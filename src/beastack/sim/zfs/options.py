"""Options of a sub-command: flags, values, and `-o` given several times."""

import getopt
from dataclasses import dataclass, field

from beastack.sim.zfs.errors import Refused


@dataclass
class Options:
    flags: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    assignments: list[str] = field(default_factory=list)

    def value(self, letter: str, default: str) -> str:
        return self.values.get(letter, default)

    def properties(self) -> dict[str, str]:
        """`-o NAME=VALUE` as often as it was given; raises Refused for one without a value."""
        found = {}
        for text in self.assignments:
            name, equals, value = text.partition("=")
            if not equals:
                raise Refused("missing '=' for property=value argument", 2)
            found[name] = value
        return found


def parse(argv: list[str], letters: str, repeated: str = "") -> tuple[Options, list[str]]:
    """Options and the rest; raises Refused with zfs's words (status 2)."""
    try:
        pairs, rest = getopt.gnu_getopt(argv, letters)
    except getopt.GetoptError as error:
        kind = "missing argument for" if "requires" in error.msg else "invalid option"
        raise Refused(f"{kind} '{error.opt}'" + (" option" if "requires" in error.msg else ""), 2) from error
    options = Options()
    for flag, value in pairs:
        letter = flag[1]
        if letter in repeated:
            options.assignments.append(value)
        elif f"{letter}:" in letters:
            options.values[letter] = value
        else:
            options.flags.add(letter)
    return options, rest


def exactly(rest: list[str], count: int, what: str) -> None:
    """Raises Refused when another number of arguments was given."""
    if len(rest) < count:
        raise Refused(f"missing {what} argument", 2)
    if len(rest) > count:
        raise Refused("too many arguments", 2)
