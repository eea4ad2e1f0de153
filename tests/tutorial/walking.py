"""Types the tutorial's commands into a shell and compares what comes with what it shows."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.tutorial.reading import ROOT, Block, shown

_FAILED, _BLOCK = "@failed ", "@block "
_TRAP = f"trap 'echo \"{_FAILED}$?\"' ERR\n"


@dataclass
class Walk:
    """A reader at her shell, in the clone.

    Attributes:
        directory: Stands for ``/tmp``, so that walks do not meet.
        instead: What is typed instead of what stands there: places, ports, registries; applied in order.
        variables: Added to the environment.
    """

    directory: Path
    instead: Sequence[tuple[str, str]] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def type(self, blocks: Sequence[Block], seconds: float = 600) -> None:
        """Type every ``sh`` block into one shell.

        Raises:
            AssertionError: A command ended otherwise than it is announced, or printed something else than is shown.
        """
        script = _TRAP + "".join(
            f"echo; echo {_BLOCK}{number}\n{self.adapted(block.text)}\n"
            for number, block in enumerate(blocks)
            if block.kind == "sh"
        )
        said = self._said(script, seconds)
        outputs = {int(part.partition("\n")[0]): part for part in said.split(f"\n{_BLOCK}")[1:]}
        typed = None
        for number, block in enumerate(blocks):
            if block.kind == "sh":
                typed = number
                assert number in outputs, f"the shell never came to\n{block.text}\n{said}"
                codes = [int(code) for code in re.findall(rf"{_FAILED}(\d+)", outputs[number])]
                assert codes == block.exit_codes, f"exit codes {codes} of\n{block.text}\n{outputs[number]}"
            elif block.kind == "text" and typed is not None:
                self._compare(block, outputs[typed])
                typed = None

    def adapted(self, text: str) -> str:
        for written, typed in (("/tmp/", f"{self.directory}/"), *self.instead):
            text = text.replace(written, typed)
        return text

    def _compare(self, block: Block, output: str) -> None:
        lines = iter(output.splitlines())
        for pattern in shown(self.adapted(block.text)):
            assert any(pattern.fullmatch(line.rstrip()) for line in lines), (
                f"{pattern.pattern}\ndid not come, or not in this place, in\n{output}"
            )

    def _said(self, script: str, seconds: float) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=ROOT,
            env={**os.environ, "PATH": path, "COLUMNS": "400", **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            return shell.communicate(timeout=seconds)[0]
        finally:
            _end(shell)


def _end(shell: "subprocess.Popen[str]") -> None:
    """End the shell and all that it started: without job control they are one process group."""
    with suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()
