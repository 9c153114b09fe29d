"""JSON as FreeBSD's programs print it (libxo(3)): rows of a list, checked for their types.

Whatever the text is, the only error is UnexpectedOutput: cut short, of another shape, nested without end.
"""

import json
from collections.abc import Sequence

from beastack.freebsd.errors import UnexpectedOutput


class Row:
    """One object of a list; ``text`` and the others raise UnexpectedOutput."""

    def __init__(self, values: dict[str, object], argv: Sequence[str]) -> None:
        self._values, self._argv = values, argv

    def _fail(self, key: str, what: str) -> UnexpectedOutput:
        return UnexpectedOutput(self._argv, repr(self._values), f"{key!r} as {what}")

    def text(self, key: str) -> str:
        """A word. Raises UnexpectedOutput."""
        value = self._values.get(key)
        if not isinstance(value, str):
            raise self._fail(key, "text")
        return value

    def number(self, key: str) -> int:
        """A whole number, quoted or not. Raises UnexpectedOutput."""
        value = self._values.get(key)
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise self._fail(key, "a whole number")

    def has(self, key: str) -> bool:
        """Whether the row has this field."""
        return key in self._values

    def below(self, key: str) -> "Row":
        """The one object below. Raises UnexpectedOutput."""
        value = self._values.get(key)
        if not isinstance(value, dict):
            raise self._fail(key, "an object")
        return Row(value, self._argv)

    def rows(self, key: str) -> "list[Row]":
        """The rows below. Raises UnexpectedOutput."""
        return _rows(self._values.get(key), self._argv, key)


def _rows(value: object, argv: Sequence[str], what: str) -> list[Row]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise UnexpectedOutput(argv, repr(value), f"a list of objects called {what!r}")
    return [Row(one, argv) for one in value]


def rows(text: str, argv: Sequence[str], *path: str, optional: bool = False) -> list[Row]:
    """The list at ``path`` (names of objects, the last one of the list). Raises UnexpectedOutput.

    ``optional``: a program that does not print an empty list means no rows; what holds the list has to be there.
    """
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise UnexpectedOutput(argv, text, f"JSON with {'/'.join(path)}") from e
    for name in path:
        if optional and name == path[-1] and isinstance(value, dict) and name not in value:
            return []
        if not isinstance(value, dict) or name not in value:
            raise UnexpectedOutput(argv, text, f"JSON with {'/'.join(path)}")
        value = value[name]
    return _rows(value, argv, path[-1])
