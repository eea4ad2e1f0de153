"""Every command of the tutorial, typed as it stands: what it prints is what is shown."""

import re
import shlex
import shutil
import socket
from pathlib import Path

import click
import pytest
from tests.tutorial.reading import ROOT, TUTORIAL, Block, blocks, shown
from tests.tutorial.walking import Walk

from bedside.cli.main import bedside

_TYPED = re.compile(r"^(?:    |\$ |.*&& |.*\| |[A-Z]+=\$\(|)(bedside (?:[^\n\\]|\\\n)*)", re.MULTILINE)
_ENDS = {"|", ">", "2>", "&", "&&", ";", "<"}
WITHOUT_CONTAINERS = (2, 3, 4, 5, 6, 7, 10, 11)


def commands(document: Path) -> list[list[str]]:
    """Every call of bedside that stands on a line of its own, without what the shell makes of its output."""
    if document == TUTORIAL:
        text = "".join(block.text for block in blocks() if block.kind == "sh")
    else:
        text = "".join(
            line for line in document.read_text().splitlines(keepends=True) if line.startswith(("    ", "$"))
        )
    return [_words(typed) for typed in _TYPED.findall(text)]


def _words(typed: str) -> list[str]:
    found: list[str] = []
    for word in shlex.split(typed.replace("\\\n", " "), comments=True)[1:]:
        if word in _ENDS:
            break
        found.append(word.rstrip(";)"))
        if word.endswith(";"):
            break
    return found


def parsed(words: list[str], command: click.Command = bedside) -> click.Command:
    """Return the command that ``words`` call; raises where it, an option or an argument is unknown."""
    context = click.Context(command)
    _, rest, _ = command.make_parser(context).parse_args(list(words))
    if not isinstance(command, click.Group):
        return command
    found = command.get_command(context, rest[0])
    assert found is not None, f"no command {rest[0]}"
    return parsed(rest[1:], found)


@pytest.mark.parametrize("document", [ROOT / "README.md", TUTORIAL], ids=lambda path: path.name)
def test_every_call_of_bedside_names_a_verb_and_options_that_there_are(document: Path) -> None:
    found = commands(document)
    assert len(found) > 15
    for words in found:
        try:
            parsed(words)
        except click.UsageError as error:
            pytest.fail(f"bedside {' '.join(words)}: {error.format_message()}")


def test_every_block_says_whether_it_is_typed_shown_or_written() -> None:
    assert {block.kind for block in blocks()} == {"sh", "text", "toml", "yaml"}


def test_a_line_that_is_shown_is_held_to_its_words_and_whole_numbers_and_not_to_its_figures() -> None:
    (pattern,) = shown("✓ icu 1.0.0: 25 golden cases, largest difference 2.22045e-16 ... sha256:17e4225df3c7\n")
    assert pattern.fullmatch("✓ icu 1.0.0: 25 golden cases, largest difference 0.0 and more sha256:aaaaaaaaaaaa")
    assert not pattern.fullmatch("✓ icu 1.0.0: 26 golden cases, largest difference 0.0 and more sha256:aaaaaaaaaaaa")
    assert not pattern.fullmatch("✓ icu 1.0.1: 25 golden cases, largest difference 0.0 and more sha256:aaaaaaaaaaaa")


@pytest.mark.parametrize(
    ("typed", "output", "complaint"),
    [
        ("false\n", "", "exit codes \\[1\\]"),
        ("true   # exit code 3\n", "", "exit codes \\[\\]"),
        ("echo one\n", "two\n", "did not come"),
        ("printf 'b\\na\\n'\n", "a\nb\n", "did not come"),
        ("exit 0\n", "", "never came to"),
    ],
)
def test_what_ends_or_prints_otherwise_than_it_is_shown_is_found(
    tmp_path: Path, typed: str, output: str, complaint: str
) -> None:
    walked = [Block(1, "sh", typed), Block(1, "text", output), Block(1, "sh", "echo on\n")]
    with pytest.raises(AssertionError, match=complaint):
        Walk(tmp_path).type(walked)


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


def answered(project: Path, block: str) -> None:
    """Edit bedside.toml as the tutorial shows it: the first lines of one input."""
    written = (project / "bedside.toml").read_text()
    name = block.splitlines()[1]
    edited, count = re.subn(rf"\[\[inputs\]\]\n{re.escape(name)}\n(?:.*\n){{3}}", block, written)
    assert count == 1, written
    (project / "bedside.toml").write_text(edited)


def to_a_release(walk: Walk, sections: tuple[int, ...]) -> None:
    """Type ``sections``; where section 3 shows what to write into bedside.toml, write it."""
    chosen = [block for block in blocks() if block.section in sections]
    edit = next(number for number, block in enumerate(chosen) if block.kind == "toml")
    walk.type(chosen[:edit])
    answered(walk.directory / "icu", chosen[edit].text)
    walk.type(chosen[edit + 1 :])


@pytest.mark.package
@pytest.mark.timeout(900)
def test_sections_that_need_python_alone_run_as_they_stand(tmp_path: Path) -> None:
    for needed in ("curl", "kubectl", "helm"):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    port, admin = free_ports()
    ports = (("--port 8080", f"--port {port} --admin-port {admin}"), ("127.0.0.1:8080", f"127.0.0.1:{port}"))
    to_a_release(Walk(tmp_path, (*ports, ("--fix ", "--fix --yes "))), WITHOUT_CONTAINERS)
