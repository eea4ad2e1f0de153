"""Ask hadolint, trivy and zizmor, beside our own rules: what each said, and how long it took.

None of them obeys a file that lies beside what is checked, nor a comment in it, as far as it can be told not to:
the one way to accept a finding is a suppression with a reason and an end.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Final

from bedside.errors import ToolFailed
from bedside.findings import Finding
from bedside.policy import stock
from bedside.policy.drawing import MAX_BYTES, kind_of
from bedside.process import Runner
from bedside.stages.check_sources import STANDARD_INPUT, Sources

FEW_OBJECTS = 50
"""Trivy is asked about so many Kubernetes objects without being told to: at 50 ms for each, all is said within 5 s."""

_ALL_BUT_KUBERNETES: Final = (
    "azure-arm,cloudformation,dockerfile,terraform,terraformplan-json,terraformplan-snapshot,ansible"
)
"""What trivy's ``--misconfig-scanners`` looks at by default, less ``kubernetes`` and ``helm``."""

TOOL_SECONDS = 120.0
"""How long one stock tool may take for a few files,"""
SECONDS_A_FILE = 1.0
"""and more for each that is there: trivy needs a tenth of it."""

_NEUTRAL: Final = str(files("bedside.policy") / "data" / "neutral.yaml")

_ENVIRONMENT: Final = {
    **dict.fromkeys(("HADOLINT_IGNORE", "HADOLINT_FORMAT"), ""),
    **dict.fromkeys((f"HADOLINT_OVERRIDE_{level}" for level in ("ERROR", "WARNING", "INFO", "STYLE")), ""),
    **dict.fromkeys(("TRIVY_SEVERITY", "TRIVY_SKIP_DIRS", "TRIVY_SKIP_FILES", "TRIVY_IGNORE_POLICY"), ""),
    **dict.fromkeys(("TRIVY_MISCONFIG_SCANNERS", "TRIVY_INCLUDE_NON_FAILURES"), ""),
    **dict.fromkeys(("TRIVY_EXIT_CODE", "TRIVY_OUTPUT", "TRIVY_COMPLIANCE"), ""),
    "TRIVY_DISABLE_TELEMETRY": "true",
    "TRIVY_SKIP_VERSION_CHECK": "true",
    "GOGC": "400",
}
"""No variable sets anything aside, nothing is reported to a maker, and trivy collects its garbage a fourth as often."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one stock tool said.

    Attributes:
        tool: What it is called in a report.
        findings: Empty where it found nothing, or failed.
        seconds: From start to end.
        failure: Why it checked nothing.
    """

    tool: str
    findings: tuple[Finding, ...]
    seconds: float
    failure: ToolFailed | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Tools that run by now, by name.

    Attributes:
        left_out: How many Kubernetes objects trivy is not asked about.
    """

    running: Mapping[str, Future[Heard]]
    left_out: int = 0

    def answers(self, on_wait: Callable[[str], None]) -> Iterator[Heard]:
        """What each says, in the order of asking; ``on_wait`` is told of one that has not ended."""
        for tool, answer in self.running.items():
            if not answer.done():
                on_wait(tool)
            yield answer.result()


@contextmanager
def asked(paths: Sequence[str], sources: Sources, runner: Runner | None, *, thorough: bool) -> Iterator[Asked]:
    """Start every tool that has something to look at; without a runner, none.

    ``thorough`` asks trivy about however many Kubernetes objects there are; without it, about ``FEW_OBJECTS`` or none.
    """
    objects = kubernetes_objects(sources) if runner is not None and not thorough else 0
    left_out = objects if objects > FEW_OBJECTS else 0
    runs = dict(_tools(paths, sources, runner, kubernetes=not left_out)) if runner is not None else {}
    with ThreadPoolExecutor(max_workers=max(1, len(runs)), thread_name_prefix="stock") as pool:
        yield Asked({tool: pool.submit(_heard, tool, run) for tool, run in runs.items()}, left_out)


def kubernetes_objects(sources: Sources) -> int:
    """How many objects trivy would be given, near enough: each names its API version once, a template of Helm too."""
    on_disk = (item.data for item in sources.files if kind_of(item.path) == "yaml" and item.path != STANDARD_INPUT)
    in_json = filter(None, map(_read, (name for name in sources.names if name.lower().endswith(".json"))))
    return sum(data.count(b"apiVersion:") + data.count(b'"apiVersion"') for data in chain(on_disk, in_json))


def _read(name: str) -> bytes:
    """A file that no rule reads, and trivy does; one that cannot be read holds nothing for it either."""
    try:
        with Path(name).open("rb") as stream:
            return stream.read(MAX_BYTES)
    except OSError:
        return b""


Run = Callable[[], list[Finding]]


def _heard(tool: str, run: Run) -> Heard:
    started = time.monotonic()
    try:
        found = tuple(run())
    except ToolFailed as error:
        return Heard(tool, (), time.monotonic() - started, error)
    return Heard(tool, found, time.monotonic() - started)


def _tools(paths: Sequence[str], sources: Sources, runner: Runner, *, kubernetes: bool) -> Iterator[tuple[str, Run]]:
    """The stock tools that have something to look at."""
    dockerfiles = [item.path for item in sources.files if kind_of(item.path) == "dockerfile"]
    workflows = [item.path for item in sources.files if "/.github/workflows/" in f"/{item.path}"]
    roots = [path for path in paths if path != STANDARD_INPUT]
    ask = _Asking(runner, TOOL_SECONDS + SECONDS_A_FILE * len(sources.files))
    if dockerfiles:
        yield "hadolint", lambda: ask.hadolint(dockerfiles)
    if dockerfiles or any(kind_of(item.path) == "yaml" for item in sources.files if item.path != STANDARD_INPUT):
        yield "trivy config", lambda: [item for root in roots for item in ask.trivy(root, kubernetes=kubernetes)]
    if workflows:
        yield "zizmor", lambda: ask.zizmor(workflows)


@dataclass(frozen=True, slots=True)
class _Asking:
    """How each tool is asked, within so many seconds."""

    runner: Runner
    timeout: float

    def hadolint(self, paths: Sequence[str]) -> list[Finding]:
        options = ["--no-fail", "--disable-ignore-pragma", "--config", _NEUTRAL, "--format", "json"]
        return self._parsed("hadolint", [*options, *paths], stock.hadolint)

    def trivy(self, root: str, *, kubernetes: bool) -> list[Finding]:
        options = ["--skip-check-update", "--config", _NEUTRAL, "--ignorefile", "", "--format", "json"]
        options += ["--timeout", f"{self.timeout:.0f}s"]
        options += [] if kubernetes else ["--misconfig-scanners", _ALL_BUT_KUBERNETES]
        base = root.rstrip("/") if Path(root).is_dir() else Path(root).parent.as_posix()
        return self._parsed(
            "trivy", ["config", *options, root], lambda output: stock.trivy(output, "" if base == "." else base)
        )

    def zizmor(self, paths: Sequence[str]) -> list[Finding]:
        options = ["--offline", "--config", _NEUTRAL, "--no-ignores", "--no-exit-codes", "--format", "json"]
        return self._parsed("zizmor", [*options, *paths], stock.zizmor)

    def _parsed(self, tool: str, options: Sequence[str], parse: Callable[[str], list[Finding]]) -> list[Finding]:
        done = self.runner.run([tool, *options], env=_ENVIRONMENT, timeout=self.timeout)
        if not done.ok:
            raise ToolFailed(
                f"{tool} exited with {done.returncode}", remedy=f"Run it alone: {' '.join(done.command[:4])} ..."
            )
        try:
            return parse(done.stdout)
        except (stock.NotAReport, KeyError, TypeError, AttributeError) as error:
            raise ToolFailed(f"{tool} wrote a report of an unknown form ({type(error).__name__})") from error
