"""A Dockerfile as stages and instructions, read by BuildKit's own parser."""

from dataclasses import dataclass
from functools import cached_property

from bedside.policy.place import Place
from bedside.policy.shell import Command, commands

MAX_BYTES = 65_536
"""Largest Dockerfile that is read: the parser's time grows with the square of continued lines."""


_LONGEST = 4_096
"""Longest name of a base: a default that holds its own name twice would double with every turn."""


class NotADockerfile(ValueError):
    """The parser refused the text; the message is the parser's."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        name: Upper case.
        values: Arguments as the parser splits them; of RUN in shell form the one command text.
        flags: ``--chown=1:1``.
        exec_form: Whether it is a JSON array.
    """

    name: str
    values: tuple[str, ...]
    flags: tuple[str, ...]
    exec_form: bool
    place: Place
    script: str = ""

    def flag(self, name: str) -> str | None:
        """The value of ``--name=value``."""
        for flag in self.flags:
            if flag.startswith(f"--{name}="):
                return flag.partition("=")[2]
        return None

    @property
    def text(self) -> str:
        """All values, as one line."""
        return " ".join(self.values)

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Names and values of ENV and LABEL, quotes taken off."""
        return tuple((k, v.strip("\"'")) for k, v in zip(self.values[::2], self.values[1::2], strict=False))

    def commands(self) -> tuple[Command, ...]:
        """What RUN, CMD or ENTRYPOINT runs."""
        if self.exec_form:
            if len(self.values) == 3 and self.values[0].endswith("sh") and self.values[1] == "-c":
                return commands(self.values[2], self.place.line)
            return (Command(self.values, self.place.line, text=self.text),)
        return commands(self.script or self.text, self.place.line)


@dataclass(frozen=True)
class Stage:
    """One build stage: what it starts from and what it does."""

    base: str
    alias: str
    place: Place
    instructions: tuple[Instruction, ...]

    def all(self, *names: str) -> tuple[Instruction, ...]:
        """Its instructions of these names, in order."""
        return tuple(item for item in self.instructions if item.name in names)


@dataclass(frozen=True)
class Dockerfile:
    """All stages of a file, global ARG defaults written into FROM.

    Attributes:
        declared: Every ARG before the first FROM, with or without a default.
        stray: Instructions before the first FROM that may not stand there.
    """

    path: str
    stages: tuple[Stage, ...]
    declared: frozenset[str] = frozenset()
    stray: tuple[Instruction, ...] = ()

    @cached_property
    def final(self) -> tuple[Stage, ...]:
        """The last stage with what it is built on."""
        return self.chain(self.stages[-1])

    def chain(self, stage: Stage) -> tuple[Stage, ...]:
        """A stage and, before it, the stages of this file that it is built on, base first."""
        known = {item.alias or str(index): item for index, item in enumerate(self.stages)}
        found = [stage]
        while found[-1].base in known and known[found[-1].base] not in found:
            found.append(known[found[-1].base])
        return tuple(reversed(found))

    def final_instructions(self, *names: str) -> tuple[Instruction, ...]:
        """What the shipped image is made with, in order."""
        return tuple(item for stage in self.final for item in stage.all(*names))

    @property
    def user(self) -> Instruction | None:
        """The USER that the image runs as, ``None`` for the base's own."""
        users = self.final_instructions("USER")
        return users[-1] if users else None

    @property
    def start(self) -> tuple[Instruction, ...]:
        """The ENTRYPOINT and CMD in force."""
        return tuple(found[-1] for name in ("ENTRYPOINT", "CMD") if (found := self.final_instructions(name)))

    def start_command(self) -> Command | None:
        """What a container runs without arguments of its own; shell forms are read as the command in them."""
        words: list[str] = []
        for instruction in self.start:
            for command in instruction.commands()[-1:]:
                words += command.words
        return Command(tuple(words), self.start[-1].place.line) if words else None


def parse(text: str, path: str) -> Dockerfile:
    """Read a Dockerfile.

    Raises:
        NotADockerfile: No instruction in it, none of them FROM, a continuation of none, or the parser's own complaint.
    """
    import dockerfile

    try:
        parsed = dockerfile.parse_string(text)
    except dockerfile.GoParseError as error:
        raise NotADockerfile(str(error).splitlines()[0]) from None
    stages: list[tuple[Instruction, list[Instruction]]] = []
    defaults: dict[str, str] = {}
    declared: set[str] = set()
    stray: list[Instruction] = []
    for command in parsed:
        if command.cmd is None:  # which builders refuse too
            raise NotADockerfile(
                f"line {command.start_line} goes on with nothing: a continuation without an instruction"
            )
        instruction = Instruction(
            command.cmd.upper(),
            command.value,
            command.flags,
            command.json,
            Place(path, command.start_line, command.end_line),
            "\n".join(doc.content for doc in command.heredocs),
        )
        if instruction.name == "FROM":
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif instruction.name == "ARG":
            for word in instruction.values:
                name, given, value = word.partition("=")
                declared.add(name)
                defaults |= {name: value.strip("\"'")} if given else {}
        else:
            stray.append(instruction)
    if not stages:
        raise NotADockerfile("it has no FROM")
    made = tuple(_stage(first, rest, defaults) for first, rest in stages)
    return Dockerfile(path, made, frozenset(declared), tuple(stray))


def _stage(first: Instruction, rest: list[Instruction], defaults: dict[str, str]) -> Stage:
    words = list(first.values)
    base = words[0] if words else ""
    for _ in range(3):  # a default may name another ARG
        for name, value in defaults.items():
            base = base.replace("${" + name + "}", value).replace("$" + name, value)[:_LONGEST]
    alias = words[2] if len(words) > 2 and words[1].lower() == "as" else ""
    return Stage(base, alias, first.place, tuple(rest))
