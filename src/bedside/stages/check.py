"""Check a deployment: read what is named, apply every rule, ask the stock tools, take out what was accepted."""

import bisect
import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from bedside import spec as specification
from bedside.errors import SpecInvalid, UsageError
from bedside.findings import Finding
from bedside.policy import fixes, rulebook, stock, suppressions
from bedside.policy.drawing import kind_of
from bedside.policy.picture import Picture
from bedside.policy.place import Hit, Place
from bedside.process import Runner
from bedside.reports.report import Accepted, Report, RuleText, StockTool
from bedside.stages import check_stock
from bedside.stages.check_sources import STANDARD_INPUT, Sources, read
from bedside.stages.check_stock import Asked, Heard


def check(
    paths: Sequence[str],
    *,
    runner: Runner | None,
    today: date,
    strict: bool = False,
    thorough: bool = False,
    standard_input: bytes = b"",
    on_wait: Callable[[str], None] = lambda _: None,
) -> Report:
    """Check everything that ``paths`` name.

    Args:
        paths: Files, directories, or ``-`` for ``standard_input``.
        runner: Starts the stock tools; ``None`` leaves them out.
        today: The day that suppressions are held against.
        strict: Whether a missing or failing stock tool is an error; asks everything of each, as ``thorough`` does.
        thorough: Whether trivy is asked about however many Kubernetes objects there are.
        standard_input: Rendered YAML, as ``helm template`` prints it.
        on_wait: Told the name of a stock tool that is slower than the rules.

    Raises:
        UsageError: A path does not exist.
        ToolFailed: Under ``strict``, a stock tool is missing or failed.
    """
    sources = read(paths, standard_input)
    with check_stock.asked(paths, sources, runner, thorough=thorough or strict) as asked:
        own = [*_own(paths, sources), *_left_out(asked)]
        joined, tools = _joined(own, asked.answers(on_wait), strict=strict)
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
        tools,
    )


def _own(paths: Sequence[str], sources: Sources) -> list[Finding]:
    """What our own rules find."""
    with _collector_paused():
        seen = sources.drawn()
        own = [*rulebook.judge(seen), *sources.unread, *_specs(seen)]
    if all(kind_of(item.path) in ("prose", "terraform") for item in sources.files):
        own.append(rulebook.finding("BED-INP-002", Hit(Place(paths[0]), "no file that any rule reads")))
    return own


def _left_out(asked: Asked) -> Iterator[Finding]:
    """That trivy was not asked about Kubernetes objects, where it was not."""
    if asked.left_out:
        message = f"trivy config was not asked about {asked.left_out} Kubernetes objects: it takes 50 ms for each"
        yield rulebook.finding("BED-INP-014", Hit(Place(""), message))


def _joined(
    own: list[Finding], answers: Iterable[Heard], *, strict: bool
) -> tuple[list[Finding], tuple[StockTool, ...]]:
    """Our findings and what each stock tool adds to them; one that checked nothing is said.

    Raises:
        ToolFailed: Under ``strict``, a tool checked nothing.
    """
    joined, tools = list(own), []
    for heard in answers:
        if heard.failure is not None and strict:
            raise heard.failure
        if heard.failure is not None:
            message = f"{heard.tool} did not check anything: {heard.failure}"
            joined.append(rulebook.finding("BED-INP-007", Hit(Place(""), message)))
            continue
        added = stock.added(own, heard.findings)
        joined += added
        tools.append(StockTool(heard.tool, len(added), heard.seconds))
    return joined, tuple(tools)


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
