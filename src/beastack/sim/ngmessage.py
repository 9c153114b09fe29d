"""Owns netgraph's text form of messages: `{ field=1 list=[ { k=2 } ] text="x" }` (netgraph(4), ng_parse(3))."""

import re
from collections.abc import Mapping, Sequence

Value = int | str | list["Value"] | dict[str, "Value"]

_TOKEN = re.compile(r'\s*(?:([{}\[\]=])|("(?:\\.|[^"\\])*")|([^\s{}\[\]="]+))')


class BadMessage(ValueError):
    """The kernel answers this with EINVAL."""


def read(text: str) -> Value:
    """One value; numbers as in C (`0x` allowed), everything else quoted or in braces."""
    words = []
    at = 0
    text = text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise BadMessage(text[at : at + 20])
        words.append(found.group(found.lastindex or 0))
        at = found.end()
    value, end = _value(words, 0)
    if end != len(words):
        raise BadMessage("text after the end")
    return value


def _value(words: Sequence[str], at: int) -> tuple[Value, int]:
    if at >= len(words):
        raise BadMessage("ends too early")
    word = words[at]
    if word == "{":
        return _struct(words, at + 1)
    if word == "[":
        return _array(words, at + 1)
    if word.startswith('"'):
        return re.sub(r"\\(.)", r"\1", word[1:-1]), at + 1
    try:
        return int(word, 0), at + 1
    except ValueError:
        raise BadMessage(word) from None


def _struct(words: Sequence[str], at: int) -> tuple[Value, int]:
    fields: dict[str, Value] = {}
    while True:
        if at >= len(words):
            raise BadMessage("a brace is not closed")
        if words[at] == "}":
            return fields, at + 1
        if at + 1 >= len(words) or words[at + 1] != "=" or words[at] in fields:
            raise BadMessage(words[at])
        fields[words[at]], at = _value(words, at + 2)


def _array(words: Sequence[str], at: int) -> tuple[Value, int]:
    items: list[Value] = []
    while True:
        if at >= len(words):
            raise BadMessage("a bracket is not closed")
        if words[at] == "]":
            return items, at + 1
        if at + 1 < len(words) and words[at + 1] == "=":
            if words[at] != str(len(items)):
                raise BadMessage("array items in another order are not simulated")
            at += 2
        item, at = _value(words, at)
        items.append(item)


def write(value: Value) -> str:
    """The text of a value; fields that are zero or empty are left out, as the kernel does."""
    if isinstance(value, dict):
        inner = " ".join(f"{name}={write(one)}" for name, one in value.items() if one not in (0, "", [], {}))
        return f"{{ {inner} }}" if inner else "{ }"
    if isinstance(value, list):
        return "[ " + " ".join(write(one) for one in value) + " ]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def number(fields: Mapping[str, Value], name: str) -> int:
    """A field that must be a number; 0 when it is left out."""
    found = fields.get(name, 0)
    if not isinstance(found, int):
        raise BadMessage(name)
    return found


def string(fields: Mapping[str, Value], name: str) -> str:
    """A field that must be a text; empty when it is left out."""
    found = fields.get(name, "")
    if not isinstance(found, str):
        raise BadMessage(name)
    return found
