"""What the real writer asks of the kernel, as strace sees it."""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from appending import command, run
from msgspec import Struct

from bedside_runtime.audit.segments import UNPUBLISHED, segment_name

_LINE = re.compile(r"(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*)\) += (-?\d+)(?: .*)?")


class Call(Struct, frozen=True):
    """One system call: its name, its arguments as strace writes them, and what it returned."""

    name: str
    arguments: str
    returned: int


def watched(directory: Path) -> list[str]:
    """The options that have strace look at nothing but the log in ``directory``, and the folder above."""
    names = [segment_name(boot, number) for boot in ("b0", "b1") for number in range(8)]
    files = [directory, directory.parent, directory / ".writer.lock", *(directory / name for name in names)]
    files += [directory / (UNPUBLISHED + name) for name in names]
    return [word for path in files for word in ("-P", str(path))]


def calls(directory: Path, boot: str, start: int, count: int) -> tuple[Counter[str], list[str]]:
    """Let an appender work on the log in ``directory``: how often it made which call, and what it acknowledged."""
    trace = directory.parent / "trace"
    code, acknowledged = run(
        ["strace", "-f", "-qq", "-o", str(trace), *watched(directory), *command(directory, boot, start, count)]
    )
    assert code == 0
    found = Counter(call.name for call in _read(trace))
    trace.unlink()
    return found, acknowledged


def everything(arguments: Sequence[str], trace: Path) -> list[Call]:
    """Run a command and return all its system calls on files, with the paths of descriptors."""
    traced = ["strace", "-f", "-y", "-qq", "-s", "32", "-e", "trace=%file,%desc", "-o", str(trace), *arguments]
    subprocess.run(traced, capture_output=True, check=True)
    return list(_read(trace))


def injected(directory: Path, call: str, way: str, when: int) -> list[str]:
    """The command prefix under which the ``when``-th ``call`` on the log in ``directory`` goes wrong."""
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:{way}:when={when}"]
    quick = [] if way.startswith("signal") else ["--seccomp-bpf"]  # with it, strace 6.1 delivers no signal
    return ["strace", "-f", "-qq", *quick, "-o", os.devnull, *watched(directory), *inject]


def _read(trace: Path) -> Iterator[Call]:
    for line in trace.read_text(errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is not None:
            yield Call(match[1], match[2], int(match[3]))
