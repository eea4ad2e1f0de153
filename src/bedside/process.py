"""The only module that starts a subprocess. A Runner is passed in, so that tests can pass their own."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from bedside.errors import ToolFailed


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended, and what it printed."""

    command: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether it exited 0."""
        return self.returncode == 0


class Runner(Protocol):
    """Runs one command to its end."""

    def run(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        input: str | None = None,  # noqa: A002 - subprocess's own word
        timeout: float | None = None,
    ) -> Completed:
        """Run ``command``; a non-zero exit is an answer, not an error.

        Args:
            command: Program and arguments; no shell is involved.
            cwd: Where to run it.
            env: Variables added to this process's own.
            input: Text for its standard input.
            timeout: Seconds after which it is killed.

        Raises:
            ToolFailed: The program is not there, or ran into the timeout.
        """
        ...


class Subprocess:
    """The Runner that starts real processes."""

    def run(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        input: str | None = None,  # noqa: A002
        timeout: float | None = None,
    ) -> Completed:
        """See Runner."""
        try:
            done = subprocess.run(  # noqa: S603 - no shell, and callers name the program
                list(command),
                cwd=cwd,
                env={**os.environ, **(env or {})},
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except FileNotFoundError:
            raise ToolFailed(
                f"{command[0]} is not installed", remedy="`bedside doctor` says how to get it."
            ) from None
        except subprocess.TimeoutExpired:
            raise ToolFailed(f"{command[0]} did not finish within {timeout:g} seconds") from None
        return Completed(tuple(command), done.returncode, done.stdout, done.stderr)


def replace(command: Sequence[str], env: Mapping[str, str] | None = None) -> NoReturn:
    """Become ``command``: signals, exit code and terminal are then its own. Does not return.

    Raises:
        ToolFailed: The program is not there.
    """
    try:
        os.execvpe(command[0], list(command), {**os.environ, **(env or {})})  # noqa: S606
    except FileNotFoundError:
        raise ToolFailed(f"{command[0]} is not installed") from None
