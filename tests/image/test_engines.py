"""What podman, docker and buildah are asked, each in its own words; the engines themselves run in tests/containers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bedside.errors import ToolFailed
from bedside.image.engines import DIALECTS, Engine, Name, Recipe
from bedside.process import Completed


class Scripted:
    """A Runner that answers each command by its second word, and writes the id that a build is asked to write."""

    def __init__(self, **answers: Completed | str) -> None:
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []
        self.seen: dict[str, bytes] = {}

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        **_: Any,
    ) -> Completed:
        self.asked.append(tuple(command))
        for word in command:
            if word.startswith("--iidfile="):
                Path(word.partition("=")[2]).write_text("sha256:" + "a" * 64)
            if word.startswith("--cert-dir="):
                folder = Path(word.partition("=")[2])
                self.seen |= {path.name: path.read_bytes() for path in folder.iterdir()}
        answer = self.answers.get(command[1], "")
        return answer if isinstance(answer, Completed) else Completed(tuple(command), 0, answer, "")


RECIPE = Recipe(Path("/w/Dockerfile"), Path("/release"), {"ca": Path("/ca.pem"), "pip": Path("/w/pip.conf")}, epoch=7)


def built(name: Name, recipe: Recipe = RECIPE) -> tuple[str, ...]:
    runner = Scripted()
    assert Engine(name, runner).build(recipe) == "sha256:" + "a" * 64
    return runner.asked[0]


@pytest.mark.parametrize("name", DIALECTS)
def test_secrets_are_files_that_a_step_sees_and_never_variables_or_arguments(name: Name) -> None:
    words = built(name)
    assert "--secret=id=ca,src=/ca.pem" in words
    assert "--secret=id=pip,src=/w/pip.conf" in words
    assert not [word for word in words if word.startswith(("--env", "--build-arg"))]


@pytest.mark.parametrize("name", DIALECTS)
def test_nothing_is_named_while_it_is_built(name: Name) -> None:
    assert not [word for word in built(name) if word.startswith(("--tag", "-t"))]


def test_the_time_is_given_where_an_engine_takes_one() -> None:
    assert "--timestamp=7" in built("podman")
    assert "--timestamp=7" in built("buildah")
    assert not [word for word in built("docker") if "7" in word.partition("=")[2] and "timestamp" in word]


def test_certificates_of_a_registry_are_given_as_a_folder(tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    authority.write_bytes(b"pem")
    runner = Scripted()
    recipe = Recipe(RECIPE.dockerfile, RECIPE.context, {}, 0, ca_file=authority, use_cache=False)
    Engine("podman", runner).build(recipe)
    assert runner.seen == {"ca.crt": b"pem"}
    assert "--no-cache" in runner.asked[0]


def test_a_build_that_fails_says_the_last_line() -> None:
    runner = Scripted(build=Completed(("podman",), 1, "STEP 1\nERROR: No matching distribution found for x\n\n", ""))
    with pytest.raises(ToolFailed, match="podman could not build the image: ERROR: No matching distribution"):
        Engine("podman", runner).build(RECIPE)


def test_an_engine_whose_daemon_is_silent_is_not_there() -> None:
    silent = Completed(("docker",), 1, "", "Cannot connect to the Docker daemon")
    assert Engine("docker", Scripted(version=silent)).version() is None
    assert Engine("docker", Scripted(version="20.10.24+dfsg1\n")).version() == "20.10.24+dfsg1"


def test_an_image_that_is_not_there_has_no_id() -> None:
    assert Engine("podman", Scripted(inspect=Completed((), 125, "", "no such image"))).find("x") is None
    assert Engine("podman", Scripted(inspect="abc\n")).find("x") == "abc"
