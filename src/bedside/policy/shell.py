"""Shell text as simple commands, well enough to ask what is run and with which options."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

_SEPARATORS = {"&&", "||", ";", "|", "&", ";;", "(", ")", "|&"}
_KEYWORDS = {"if", "then", "else", "elif", "fi", "do", "done", "while", "!", "{", "}", "time", "sudo", "exec", "env"}


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command.

    Attributes:
        words: Program and arguments, quotes taken off, leading assignments and keywords dropped.
        line: First line in the file.
        ignored: Whether its failure is lost: ``|| true``, ``set +e``, or a pipe without pipefail.
        text: The line that it stands in, for looking at what quoting hides.
    """

    words: tuple[str, ...]
    line: int
    ignored: bool = False
    text: str = ""

    @property
    def program(self) -> str:
        """The program without its directory."""
        return self.words[0].rsplit("/", 1)[-1] if self.words else ""

    def runs(self, *words: str) -> bool:
        """Whether it begins with these words, the program's directory aside."""
        return (self.program, *self.words[1 : len(words)]) == words

    def has(self, *options: str) -> bool:
        """Whether one of these options is given, alone or as ``--option=value``."""
        return any(word == option or word.startswith(option + "=") for word in self.words for option in options)

    def option(self, *names: str) -> str | None:
        """The value of an option, written ``--option value`` or ``--option=value``."""
        return next(_matching(self.words, names), None)

    def options(self, *names: str) -> tuple[str, ...]:
        """Every value of an option that may be given more than once."""
        return tuple(_matching(self.words, names))


def _matching(words: tuple[str, ...], names: tuple[str, ...]) -> Iterator[str]:
    for position, word in enumerate(words):
        name, equals, value = word.partition("=")
        if word in names and position + 1 < len(words):
            yield words[position + 1]
        elif equals and name in names:
            yield value


def commands(text: str, line: int = 1, *, pipefail: bool = False, lenient: bool = False) -> tuple[Command, ...]:
    """Split shell text into simple commands; text that no shell would read gives what can be told of it.

    Args:
        text: The script.
        line: Where it begins in its file.
        pipefail: Whether the shell is started so that a failure inside a pipe counts.
        lenient: Whether the shell goes on after a failure from the beginning.
    """
    found: list[Command] = []
    pipefail = pipefail or "pipefail" in text
    for offset, physical in _logical_lines(text):
        tokens = _tokens(physical)
        if tokens[:1] == ["set"]:
            lenient = tokens[1:2] == ["+e"]
        for command, after in _simple_commands(tokens, line + offset, physical):
            lost = lenient or (after[:1] == ["|"] and not pipefail) or _swallowed(after)
            found.append(replace(command, ignored=lost))
    return tuple(found)


def _swallowed(after: list[str]) -> bool:
    """Whether what follows ``||`` lets the script go on."""
    return after[:1] == ["||"] and after[1:2] not in (["exit"], ["false"], ["return"], ["{"], ["("])


def _logical_lines(text: str) -> list[tuple[int, str]]:
    lines: list[tuple[int, str]] = []
    held, start = "", 0
    for number, raw in enumerate(text.split("\n")):
        if not held:
            start = number
        if raw.rstrip().endswith("\\"):
            held += raw.rstrip()[:-1] + " "
            continue
        if (held + raw).strip():
            lines.append((start, held + raw))
        held = ""
    return [*lines, (start, held)] if held.strip() else lines


def _tokens(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    tokens: list[str] = []
    try:
        tokens.extend(lexer)
    except ValueError:  # an open quote, as in a string over several lines: words are still words
        return re.findall(r"&&|\|\||[;|()&]|[^\s;|()&\"']+", text)
    return tokens


def _simple_commands(tokens: list[str], line: int, text: str) -> Iterator[tuple[Command, list[str]]]:
    """Each command, with the tokens after it."""
    words: list[str] = []
    for position, token in enumerate([*tokens, ";"]):
        if token in _SEPARATORS:
            if words:
                yield Command(tuple(words), line, text=text), tokens[position:]
            words = []
        elif words or not (token in _KEYWORDS or re.match(r"[A-Za-z_]\w*=", token)):
            words.append(token)
