"""Owns the words of pf.conf(5): tokens, statements, macros, and the cursor the grammar reads with."""

from typing import NamedTuple, NoReturn

from beastack.sim.pf.model import PfSyntaxError

_NOT_IN_WORD = set("(){}<>!=/#,\"' \t\r\n\\")
_DOUBLE = ("!=", "<=", ">=", "><", "<>", "->")


class Token(NamedTuple):
    kind: str  # word, str (quoted), sym
    text: str
    line: int


def tokens(text: str, line: int = 1) -> list[Token]:
    """Every token; a newline is the symbol "\\n", except inside braces and after a backslash."""
    found: list[Token] = []
    at, depth, end = 0, 0, len(text)
    while at < end:
        char = text[at]
        if char == "\n":
            if not depth:
                found.append(Token("sym", "\n", line))
            line += 1
            at += 1
        elif char == "\\" and text[at + 1 : at + 2] == "\n":
            line += 1
            at += 2
        elif char in " \t\r":
            at += 1
        elif char == "#":
            while at < end and text[at] != "\n":
                at += 1
        elif char in "\"'":
            close = text.find(char, at + 1)
            if close < 0:
                raise PfSyntaxError(line, "syntax error")
            found.append(Token("str", text[at + 1 : close], line))
            line += text.count("\n", at, close)
            at = close + 1
        elif text[at : at + 2] in _DOUBLE:
            found.append(Token("sym", text[at : at + 2], line))
            at += 2
        elif char in _NOT_IN_WORD:
            depth += (char == "{") - (char == "}" and depth > 0)
            found.append(Token("sym", char, line))
            at += 1
        else:
            start = at
            while at < end and text[at] not in _NOT_IN_WORD:
                at += 1
            found.append(Token("word", text[start:at], line))
    return found


class Lines:
    """The statements of a file, one at a time, macros replaced."""

    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self._at = 0
        self._macros: dict[str, str] = {}

    def define(self, name: str, value: str) -> None:
        self._macros[name] = value

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> "Cursor":
        while self._at < len(self._tokens):
            start = self._at
            while self._at < len(self._tokens) and self._tokens[self._at].text != "\n":
                self._at += 1
            statement = self._tokens[start : self._at]
            self._at += 1
            if statement:
                return Cursor(statement, self._macros)
        raise StopIteration


class Cursor:
    """Reads one statement from left to right."""

    def __init__(self, statement: list[Token], macros: dict[str, str]) -> None:
        self.line = statement[0].line
        self._tokens: list[Token] = []
        self._at = 0
        self._unknown: str | None = None
        for token in statement:
            if token.kind == "word" and token.text.startswith("$"):
                value = macros.get(token.text[1:])
                if value is None:
                    self._unknown = token.text[1:]
                    continue
                self._tokens += tokens(value, token.line)
            else:
                self._tokens.append(token)

    def check_macros(self) -> None:
        if self._unknown is not None:
            self.fail(f"macro '{self._unknown}' not defined")

    def fail(self, message: str = "syntax error") -> NoReturn:
        raise PfSyntaxError(self.line, message)

    @property
    def done(self) -> bool:
        return self._at >= len(self._tokens)

    def peek(self, ahead: int = 0) -> str:
        """The next token's text; "" at the end. A quoted string never looks like a symbol or a key word."""
        at = self._at + ahead
        if at >= len(self._tokens):
            return ""
        token = self._tokens[at]
        return f'"{token.text}' if token.kind == "str" else token.text

    def take(self) -> str:
        if self.done:
            self.fail()
        self._at += 1
        return self._tokens[self._at - 1].text

    def accept(self, *texts: str) -> str:
        """Take the next token if it is one of these (unquoted); "" otherwise."""
        found = self.peek()
        if found and found in texts:
            self._at += 1
            return found
        return ""

    def expect(self, *texts: str) -> str:
        return self.accept(*texts) or self.fail()

    def word(self) -> str:
        """A word or a quoted string, not a symbol."""
        if self.done or self._tokens[self._at].kind == "sym":
            self.fail()
        return self.take()

    def number(self) -> int:
        text = self.word()
        try:
            return int(text, 0)
        except ValueError:
            self.fail()

    def rest(self) -> str:
        found = " ".join(token.text for token in self._tokens[self._at :])
        self._at = len(self._tokens)
        return found

    def finish(self) -> None:
        if not self.done:
            self.fail()
