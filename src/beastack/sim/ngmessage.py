"""Owns netgraph's text form of messages: `{ field=1 list=[ { k=2 } ] text="x" }` (netgraph(4), ng_parse(3))."""

import re
from collections.abc import Mapping, Sequence

Value = int | str | list["Value"] | dict[str, "Value"]

_TOKEN = re.compile(r'\s*(?:([{}\[\]=])|("(?:\\.|[^"\\])*")|([^\s{}\[\]="]+))')


class BadMessage(ValueError):
    """The kernel answers this with EINVAL."""


def read(text: str) -> Value:
    """One value; numbers as in C (`0x` allowed), everything else quoted or in braces."""
    tokens = []
    at = 0
    text = text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise BadMessage(text[at : at + 20])
        tokens.append(found.group(found.lastindex or 0))
        at = found.end()
    value, end = _value(tokens, 0)
    if end != len(tokens):
        raise BadMessage("text after the end")
    return value


def _value(tokens: Sequence[str], at: int) -> tuple[Value, int]:
    if at >= len(tokens):
        raise BadMessage("ends too early")
    token = tokens[at]
    if token == "{":
        return _struct(tokens, at + 1)
    if token == "[":
        return _array(tokens, at + 1)
    if token.startswith('"'):
        return re.sub(r"\\(.)", r"\1", token[1:-1]), at + 1
    try:
        return int(token, 0), at + 1
    except ValueError:
        raise BadMessage(token) from None


def _struct(tokens: Sequence[str], at: int) -> tuple[Value, int]:
    fields: dict[str, Value] = {}
    while True:
        if at >= len(tokens):
            raise BadMessage("a brace is not closed")
        if tokens[at] == "}":
            return fields, at + 1
        if at + 1 >= len(tokens) or tokens[at + 1] != "=" or tokens[at] in fields:
            raise BadMessage(tokens[at])
        fields[tokens[at]], at = _value(tokens, at + 2)


def _array(tokens: Sequence[str], at: int) -> tuple[Value, int]:
    items: list[Value] = []
    while True:
        if at >= len(tokens):
            raise BadMessage("a bracket is not closed")
        if tokens[at] == "]":
            return items, at + 1
        if at + 1 < len(tokens) and tokens[at + 1] == "=":
            if tokens[at] != str(len(items)):
                raise BadMessage("array items in another order are not simulated")
            at += 2
        item, at = _value(tokens, at)
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
