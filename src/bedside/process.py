"""The only module that starts a subprocess. A Runner is passed in, so that tests can pass their own."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from bedside.errors import ToolFailed

_GRACE = 15.0
"""Seconds that a child has between SIGTERM and SIGKILL."""


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
        on_error_line: Callable[[str], None] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """Run ``command``; a non-zero exit is an answer, not an error.

        Args:
            command: Program and arguments; no shell is involved.
            cwd: Where to run it.
            env: Variables added to this process's own.
            input: Text for its standard input.
            timeout: Seconds after which it is killed.
            on_error_line: Given each line of its standard error as it comes, on another thread.
            on_line: Given each line that it prints, output and errors in the order they come; both are in ``stdout``.

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
        on_error_line: Callable[[str], None] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """See Runner."""
        if on_line is not None:
            return _merged(command, _environment(env), cwd, on_line)
        if on_error_line is not None:
            return _watched(command, _environment(env), cwd, on_error_line, input)
        try:
            done = subprocess.run(  # noqa: S603 - no shell, and callers name the program
                list(command),
                cwd=cwd,
                env=_environment(env),
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except FileNotFoundError:
            raise ToolFailed(f"{command[0]} is not installed", remedy="`bedside doctor` says how to get it.") from None
        except subprocess.TimeoutExpired:
            raise ToolFailed(f"{command[0]} did not finish within {timeout:g} seconds") from None
        return Completed(tuple(command), done.returncode, done.stdout, done.stderr)


def _environment(added: Mapping[str, str] | None) -> dict[str, str]:
    """Return this process's variables with ``added``; tools that came as wheels lie beside the interpreter."""
    path = os.pathsep.join(part for part in (os.environ.get("PATH"), str(Path(sys.executable).parent)) if part)
    return {**os.environ, "PATH": path, **(added or {})}


def _merged(
    command: Sequence[str], env: Mapping[str, str], cwd: Path | None, on_line: Callable[[str], None]
) -> Completed:
    """Run ``command`` to its end and hand on all that it prints line by line; interrupted, it is ended too."""
    try:
        child = subprocess.Popen(  # noqa: S603 - no shell, and callers name the program
            list(command),
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise ToolFailed(f"{command[0]} is not installed", remedy="`bedside doctor` says how to get it.") from None
    said: list[str] = []
    with child:
        try:
            for line in child.stdout or ():
                said.append(line)
                on_line(line)
        except BaseException:
            _stop(child)
            raise
    return Completed(tuple(command), child.returncode, "".join(said), "")


def _watched(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: Path | None,
    on_error_line: Callable[[str], None],
    said_to_it: str | None,
) -> Completed:
    """Run ``command`` to its end and hand on its standard error line by line."""
    try:
        child = subprocess.Popen(  # noqa: S603 - no shell, and callers name the program
            list(command),
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL if said_to_it is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except FileNotFoundError:
        raise ToolFailed(f"{command[0]} is not installed", remedy="`bedside doctor` says how to get it.") from None
    said: list[str] = []

    def listen(lines: Iterable[str]) -> None:
        for line in lines:
            said.append(line)
            on_error_line(line)

    with child:
        listener = threading.Thread(target=listen, args=(child.stderr or (),), daemon=True)
        listener.start()
        if child.stdin is not None:
            with suppress(BrokenPipeError):  # it ended without listening; its exit code says why
                child.stdin.write(said_to_it or "")
                child.stdin.close()
        stdout = child.stdout.read() if child.stdout is not None else ""
        listener.join()
    return Completed(tuple(command), child.returncode, stdout, "".join(said))


def replace(command: Sequence[str], env: Mapping[str, str] | None = None) -> NoReturn:
    """Become ``command``: signals, exit code and terminal are then its own. Does not return.

    Raises:
        ToolFailed: The program is not there.
    """
    try:
        os.execvpe(command[0], list(command), {**os.environ, **(env or {})})  # noqa: S606
    except FileNotFoundError:
        raise ToolFailed(f"{command[0]} is not installed") from None


class Child:
    """A process that runs beside this one."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended, ``None`` while it runs."""
        return self._process.poll()

    def terminate(self, timeout: float) -> int | None:
        """Send SIGTERM, wait up to ``timeout`` seconds, return how it ended; ``None`` where it still runs."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        return None


@contextmanager
def background(command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> Iterator[Child]:
    """Run ``command`` beside this process and stop it at the end: SIGTERM, then SIGKILL after 15 seconds.

    Args:
        command: Program and arguments.
        log: File that takes its standard error.
        env: Variables added to this process's own.

    Raises:
        ToolFailed: The program is not there.
    """
    with log.open("wb") as stderr:
        try:
            child = subprocess.Popen(  # noqa: S603 - no shell, and callers name the program
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                env=_environment(env),
            )
        except FileNotFoundError:
            raise ToolFailed(f"{command[0]} is not installed") from None
        try:
            yield Child(child)
        finally:
            _stop(child)


def _stop(child: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(_GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
