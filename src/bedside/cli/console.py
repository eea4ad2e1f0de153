"""How the command line speaks: people on stderr, results on stdout.

Colours follow the terminal and NO_COLOR. Nothing here decides anything.
"""

import json
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from bedside.errors import BedsideError
from bedside.findings import Finding
from bedside_runtime.errors import BedsideRuntimeError

_PEOPLE = Console(stderr=True, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Say something to the person at the terminal."""
    _PEOPLE.print(escape(text))


def done(text: str) -> None:
    """Say what was achieved."""
    _PEOPLE.print(f"[green]✓[/green] {escape(text)}")


def failed(text: str) -> None:
    """Say what a check found to be wrong."""
    _PEOPLE.print(f"[red]✗[/red] {escape(text)}")


def result(value: object) -> None:
    """Write a result to stdout: one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def line(text: str) -> None:
    """Write one line of a result to stdout."""
    sys.stdout.write(f"{text}\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Show a table to the person at the terminal."""
    _PEOPLE.print(_table(title, columns, rows))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    drawn = Table(title=escape(title), title_justify="left", show_edge=False, pad_edge=False)
    for column in columns:
        drawn.add_column(column)
    for row in rows:
        drawn.add_row(*map(escape, row))
    return drawn


class Steps:
    """Shows each named step with its time; called with the name of the next one."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar

    def __call__(self, text: str) -> None:
        """End the step before, and begin this one."""
        if self._bar is None:
            note(f"  {text}")
            return
        self.finish()
        self._bar.add_task(escape(text), total=1, part="")

    def progress(self, done: int, count: int) -> None:
        """Say how far the step is."""
        if self._bar is not None and self._bar.tasks:
            self._bar.update(self._bar.tasks[-1].id, part=f"{done * 100 // count:3d}% of {count:,}")

    def finish(self) -> None:
        """End the last step."""
        if self._bar is not None:
            for task in self._bar.tasks:
                self._bar.update(task.id, completed=1)


@contextmanager
def steps() -> Iterator[Steps]:
    """Show each named step with its time; where nobody watches, one plain line a step."""
    if not _PEOPLE.is_terminal:
        yield Steps(None)
        return
    columns = (
        SpinnerColumn(finished_text="[green]✓[/green]"),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[part]}"),
    )
    with Progress(*columns, console=_PEOPLE) as progress:
        shown = Steps(progress)
        yield shown
        shown.finish()


@contextmanager
def progress(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of ``total`` are done."""
    with Progress(console=_PEOPLE, disable=not _PEOPLE.is_terminal, transient=True) as bar:
        task = bar.add_task(escape(text), total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def transfer() -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None]]]:
    """Show what is done, and how many bytes of how many are sent: gives the one to tell of each."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=_PEOPLE, disable=not _PEOPLE.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield (
            lambda text: bar.update(task, description=escape(text)),
            lambda further, total: bar.update(task, advance=further, total=total),
        )


class Board:
    """A table that is drawn again and again in its place, with notes above it; notes alone where nobody watches."""

    def __init__(self, live: Live | None) -> None:
        self._live = live

    def note(self, text: str) -> None:
        """Say something above the table."""
        note(f"  {text}")

    def draw(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
        """Show the table as it is now; return whether anybody sees it."""
        if self._live is None:
            return False
        self._live.update(_table(title, columns, rows))
        return True


@contextmanager
def board() -> Iterator[Board]:
    """Give a table that is drawn in its place."""
    if not _PEOPLE.is_terminal:
        yield Board(None)
        return
    with Live(console=_PEOPLE, refresh_per_second=4) as live:
        yield Board(live)


def refusal(error: BedsideError | BedsideRuntimeError) -> None:
    """Say why something is refused, and what to do next."""
    for finding in error.findings if isinstance(error, BedsideError) else ():
        _finding(finding, error.remedy)
    _PEOPLE.print(f"[bold red]error:[/bold red] {escape(str(error))}")
    if error.remedy:
        _PEOPLE.print(f"[bold]remedy:[/bold] {escape(error.remedy)}")


def defect(error: Exception) -> None:
    """Report a defect of bedside itself: where it is, without any value of the data at hand."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    _PEOPLE.print(f"[bold red]defect in bedside:[/bold red] {type(error).__name__} at {frame.filename}:{frame.lineno}")
    _PEOPLE.print("Please report this line together with the command. The message itself may hold data: read it first.")


def _finding(finding: Finding, said_below: str) -> None:
    place = ":".join(part for part in (finding.file, str(finding.line or ""), finding.path) if part)
    _PEOPLE.print(f"[bold]{escape(place)}[/bold] {escape(finding.message)} [dim]\\[{finding.rule}][/dim]")
    if finding.remedy and finding.remedy != said_below:
        _PEOPLE.print(f"    {escape(finding.remedy)}")
