"""uv, the resolver and installer: a handful of commands, wheels and sha256 only."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import uv as uv_distribution

from bedside.errors import SpecInvalid, ToolFailed, VerificationFailed
from bedside.process import Completed, Runner

_TIMEOUT = 1800.0
"""Seconds for one call; a cold download of a model library over a hospital's proxy takes minutes."""


_GLIBC = (17, 28, *range(31, 41))
"""Minor versions of glibc 2 that uv has a word for."""


@dataclass(frozen=True, slots=True)
class Uv:
    """Runs uv through ``runner``. Its index, proxy and certificates are those of the user's own settings."""

    runner: Runner

    def compile(self, requirements: Path, extra: str, lock: Path, python: str, wheels: Path | None) -> None:
        """Resolve ``requirements`` and ``extra`` into the hashed file ``lock``.

        Versions that ``lock`` names already are kept where they still fit, so that packaging again gives the
        same release. Only wheels count. No index address is written.

        Args:
            requirements: The author's file.
            extra: One more requirement, the runtime's.
            lock: Read for preferences where it exists, then replaced.
            python: Version of the environment to resolve for, ``3.11``.
            wheels: Directory with local wheels, or ``None``.

        Raises:
            SpecInvalid: Nothing satisfies the requirements, or something has no wheel.
            ToolFailed: The index cannot be reached.
        """
        done = self._run(
            ["pip", "compile", str(requirements), "-", "--output-file", str(lock)],
            ["--generate-hashes", "--only-binary", ":all:", "--python-version", python],
            ["--no-header", "--no-annotate", "--no-emit-index-url", *_links(wheels)],
            input=f"{extra}\n",
        )
        if not done.ok:
            raise _resolution_error(done, requirements)

    def environment(self, directory: Path, python: str, lock: Path, wheels: Path | None) -> Path:
        """Make a virtual environment that holds exactly ``lock``, each file checked against its sha256.

        Returns:
            The environment's Python.

        Raises:
            VerificationFailed: A file does not have the digest that the lock names.
            ToolFailed: No such Python, or no access to a file.
        """
        made = self._run(["venv", "--no-project", "--python", python, str(directory)])
        if not made.ok:
            remedy = f"Install Python {python}, or set [environment] python to one that `bedside doctor` finds."
            raise ToolFailed(f"no environment with Python {python} could be made: {_reason(made)}", remedy=remedy)
        interpreter = directory / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        synced = self._run(
            ["pip", "sync", "--python", str(interpreter), str(lock)],
            ["--require-hashes", "--only-binary", ":all:", *_links(wheels)],
        )
        if not synced.ok:
            raise _installation_error(synced)
        return interpreter

    def install(self, target: Path, python: str, platform: str, lock: Path, wheels: Path | None) -> None:
        """Install exactly ``lock`` into the folder ``target``, each file checked against its sha256.

        Args:
            target: Made if absent.
            python: Version that the wheels must be for, ``3.11``.
            platform: uv's word for what they must run on; see `platform`.
            lock: Hashed requirements file.
            wheels: Directory with local wheels, or ``None``.

        Raises:
            VerificationFailed: A file does not have the digest that the lock names.
            ToolFailed: No access to a file.
        """
        done = self._run(
            ["pip", "install", "--target", str(target), "--requirements", str(lock), "--no-deps"],
            ["--python-version", python, "--python-platform", platform],
            ["--require-hashes", "--only-binary", ":all:", *_links(wheels)],
        )
        if not done.ok:
            raise _installation_error(done)

    def build_wheel(self, source: Path, directory: Path) -> Path:
        """Build the wheel of the project in ``source`` into ``directory`` and return it.

        Raises:
            ToolFailed: It does not build.
        """
        done = self._run(["build", "--wheel", "--no-create-gitignore", "--out-dir", str(directory), str(source)])
        built = sorted(directory.glob("*.whl"))
        if not done.ok or len(built) != 1:
            raise ToolFailed(f"the wheel of {source.name} does not build: {_reason(done)}")
        return built[0]

    def reach(self) -> str:
        """Ask the package index for one small distribution.

        Raises:
            ToolFailed: It does not answer.
        """
        done = self._run(["pip", "compile", "-", "--quiet", "--no-header", "--no-annotate"], input="packaging\n")
        if not done.ok:
            raise ToolFailed(f"the package index cannot be reached: {_reason(done)}")
        return f"answers ({done.stdout.strip()})"

    def cache(self) -> Path:
        """Return where uv keeps what it downloaded."""
        return Path(self._run(["cache", "dir"]).stdout.strip())

    def version(self) -> str:
        """Return uv's own version line."""
        return self._run(["--version"]).stdout.strip()

    def _run(self, *parts: list[str], input: str | None = None) -> Completed:  # noqa: A002 - as in Runner
        command = [uv_distribution.find_uv_bin(), *(argument for part in parts for argument in part)]
        environment = {"UV_NO_PROGRESS": "1", "VIRTUAL_ENV": ""}
        return self.runner.run(command, input=input, env=environment, timeout=_TIMEOUT)


def platform(machine: str, libc: str) -> str:
    """Return uv's word for Linux on ``machine`` with ``libc``, so that wheels do not depend on who installs.

    Args:
        machine: ``x86_64`` or ``aarch64``.
        libc: As a contract records it, ``glibc 2.36``.
    """
    version = re.fullmatch(r"glibc 2\.(\d+)", libc)
    known = [minor for minor in _GLIBC if version is not None and minor <= int(version[1])]
    return f"{machine}-manylinux_2_{max(known)}" if known else f"{machine}-unknown-linux-gnu"


def _links(wheels: Path | None) -> list[str]:
    return ["--find-links", str(wheels)] if wheels is not None else []


def _resolution_error(done: Completed, requirements: Path) -> SpecInvalid | ToolFailed:
    reason = _reason(done)
    if re.search(r"fetch|connect|dns|timed out|certificate", reason, re.IGNORECASE):
        return ToolFailed(
            f"the package index cannot be reached: {reason}",
            remedy="`bedside doctor` shows what is reachable.",
        )
    return SpecInvalid(
        f"{requirements.name} cannot be locked: {reason}",
        remedy="A release installs wheels only: choose versions that exist, fit together and have one.",
    )


def _installation_error(done: Completed) -> VerificationFailed | ToolFailed:
    reason = _reason(done)
    if "Hash mismatch" in reason:
        return VerificationFailed(
            f"a file is not the one that the lock names: {reason}",
            remedy="Find out where it came from; package with --upgrade only if you trust the index.",
        )
    return ToolFailed(
        f"the locked environment could not be installed: {reason}",
        remedy="Check access to the package index (`bedside doctor`) and run the command again.",
    )


def _reason(done: Completed) -> str:
    """Return uv's own explanation without its drawing characters, on one line."""
    told = [line for line in done.stderr.splitlines() if not line.startswith(("Using Python", "Resolved "))]
    return " ".join(re.sub(r"[^\x20-\x7e]", " ", "\n".join(told)).split()) or f"uv exited {done.returncode}"
