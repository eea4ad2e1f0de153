"""Check a deployment: read what is named, apply every rule, ask the stock tools, take out what was accepted."""

import bisect
import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from bedside import spec as specification
from bedside.errors import SpecInvalid, ToolFailed, UsageError
from bedside.findings import Finding
from bedside.policy import fixes, rulebook, stock, suppressions
from bedside.policy.drawing import kind_of
from bedside.policy.picture import Picture
from bedside.policy.place import Hit, Place
from bedside.process import Runner
from bedside.reports.report import Accepted, Report, RuleText
from bedside.stages.check_sources import STANDARD_INPUT, Sources, read

TOOL_SECONDS = 120.0
"""How long one stock tool may take."""


def check(
    paths: Sequence[str],
    *,
    runner: Runner | None,
    today: date,
    strict: bool = False,
    standard_input: bytes = b"",
) -> Report:
    """Check everything that ``paths`` name.

    Args:
        paths: Files, directories, or ``-`` for ``standard_input``.
        runner: Starts the stock tools; ``None`` leaves them out.
        today: The day that suppressions are held against.
        strict: Whether a missing or failing stock tool is an error.
        standard_input: Rendered YAML, as ``helm template`` prints it.

    Raises:
        UsageError: A path does not exist.
        ToolFailed: Under ``strict``, a stock tool is missing or failed.
    """
    sources = read(paths, standard_input)
    with _collector_paused():
        seen = sources.drawn()
        own = [*rulebook.judge(seen), *sources.unread, *_specs(seen)]
    if all(kind_of(item.path) == "prose" for item in sources.files):
        own.append(rulebook.finding("BED-INP-002", Hit(Place(paths[0]), "no file that any rule reads")))
    joined = own if runner is None else stock.join(own, _stock(paths, sources, runner, strict=strict))
    marks, problems = suppressions.read(sources.files)
    kept, accepted = suppressions.apply([*joined, *problems], marks, today)
    templates = _templates(standard_input)
    return Report(
        tuple(
            _from_template(item, templates)
            for item in sorted(kept, key=lambda item: (item.file, item.line, item.rule, item.message))
        ),
        tuple(Accepted(one.finding, one.reason, one.until) for one in accepted),
        len(sources.files),
        rule_texts(),
    )


def _templates(rendered: bytes) -> list[tuple[int, str]]:
    """Lines at which helm says which template follows, with its path."""
    lines = rendered.decode("utf-8", "replace").split("\n")
    mark = "# Source: "
    return [(number, line.removeprefix(mark).strip()) for number, line in enumerate(lines, 1) if line.startswith(mark)]


def _from_template(item: Finding, templates: Sequence[tuple[int, str]]) -> Finding:
    """A finding in what helm rendered, with the template that its line comes from."""
    if item.file != STANDARD_INPUT or not item.line or not templates:
        return item
    position = bisect.bisect_right([line for line, _ in templates], item.line)
    return replace(item, path=templates[position - 1][1]) if position else item


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A picture is a million values without a cycle; to look for cycles among them takes half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _specs(seen: Picture) -> Iterator[Finding]:
    """What the room of bedside.toml says of each one that is TOML at all."""
    for path in seen.specs:
        try:
            yield from specification.load(Path(path)).notes
        except SpecInvalid as error:
            yield from error.findings


def rule_texts() -> dict[str, RuleText]:
    """Every rule as reports show it."""
    return {
        name: RuleText(rule.title, rule.severity, rule.reason, rule.remedy) for name, rule in rulebook.rules().items()
    }


@dataclass(frozen=True, slots=True)
class Correction:
    """What ``--fix`` would do to one file."""

    path: str
    before: str
    after: str
    rules: tuple[str, ...]

    @property
    def diff(self) -> str:
        """A unified diff."""
        return fixes.diff(self.before, self.after, self.path)


def corrections(paths: Sequence[str], *, today: date) -> tuple[Correction, ...]:
    """What can be corrected mechanically; nothing is written.

    A file in which somebody accepts a rule today is left as it is for that rule.

    Raises:
        UsageError: A path does not exist, or is standard input.
    """
    if STANDARD_INPUT in paths:
        raise UsageError("standard input cannot be corrected", remedy="Name files or directories.")
    sources = read(paths, b"")
    seen = sources.drawn()
    texts = {item.path: item.data.decode("utf-8") for item in sources.files if _is_text(item.data)}
    marks, _problems = suppressions.read(sources.files)
    left = {(mark.rule, mark.file) for mark in marks if mark.until >= today}
    found = {
        rule: [change for change in changes if (rule, change.file) not in left]
        for rule, changes in fixes.edits(seen, texts).items()
    }
    changed: list[Correction] = []
    for path, text in texts.items():
        mine = [change for changes in found.values() for change in changes if change.file == path]
        after = fixes.apply(text, mine)
        if after != text:
            rules = tuple(rule for rule, changes in found.items() if any(one.file == path for one in changes))
            changed.append(Correction(path, text, after, rules))
    return tuple(changed)


def correct(changes: Iterable[Correction]) -> None:
    """Write corrections. A file that changed since it was read is refused; each file is replaced as a whole.

    Raises:
        UsageError: A file is not what the diff was made from.
    """
    for change in changes:
        path = Path(change.path)
        if path.read_text(encoding="utf-8") != change.before:
            raise UsageError(f"{change.path} changed since it was read", remedy="Run the command again.")
        staged = path.with_name(path.name + ".bedside-new")
        staged.write_text(change.after, encoding="utf-8")
        staged.chmod(path.stat().st_mode)
        staged.replace(path)


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\r" not in data


def _stock(paths: Sequence[str], sources: Sources, runner: Runner, *, strict: bool) -> list[Finding]:
    found: list[Finding] = []
    for tool, run in _tools(paths, sources, runner):
        try:
            found += run()
        except ToolFailed as error:
            if strict:
                raise
            found.append(rulebook.finding("BED-INP-007", Hit(Place(""), f"{tool} did not check anything: {error}")))
    return found


Run = Callable[[], list[Finding]]


def _tools(paths: Sequence[str], sources: Sources, runner: Runner) -> Iterator[tuple[str, Run]]:
    """The stock tools that have something to look at."""
    dockerfiles = [item.path for item in sources.files if kind_of(item.path) == "dockerfile"]
    workflows = [item.path for item in sources.files if "/.github/workflows/" in f"/{item.path}"]
    roots = [path for path in paths if path != STANDARD_INPUT]
    if dockerfiles:
        yield "hadolint", lambda: _hadolint(runner, dockerfiles)
    if dockerfiles or any(kind_of(item.path) == "yaml" for item in sources.files if item.path != STANDARD_INPUT):
        yield "trivy", lambda: [item for root in roots for item in _trivy(runner, root)]
    if workflows:
        yield "zizmor", lambda: _zizmor(runner, workflows)


def _hadolint(runner: Runner, files: Sequence[str]) -> list[Finding]:
    return _parsed("hadolint", runner, ["--no-fail", "--format", "json", *files], stock.hadolint)


def _trivy(runner: Runner, root: str) -> list[Finding]:
    command = ["config", "--skip-check-update", "--quiet", "--format", "json", root]
    base = root.rstrip("/") if Path(root).is_dir() else Path(root).parent.as_posix()
    return _parsed("trivy", runner, command, lambda output: stock.trivy(output, "" if base == "." else base))


def _zizmor(runner: Runner, files: Sequence[str]) -> list[Finding]:
    options = ["--offline", "--no-exit-codes", "--no-progress", "--format", "json"]
    return _parsed("zizmor", runner, [*options, *files], stock.zizmor)


def _parsed(tool: str, runner: Runner, options: Sequence[str], parse: Callable[[str], list[Finding]]) -> list[Finding]:
    done = runner.run([tool, *options], timeout=TOOL_SECONDS)
    if not done.ok:
        raise ToolFailed(
            f"{tool} exited with {done.returncode}", remedy=f"Run it alone: {' '.join(done.command[:4])} ..."
        )
    try:
        return parse(done.stdout)
    except (stock.NotAReport, KeyError, TypeError, AttributeError) as error:
        raise ToolFailed(f"{tool} wrote a report of an unknown form ({type(error).__name__})") from error
