"""Any bytes whatever end in findings: nothing that a file says can stop the reading or the rules."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.deployments_of_cases import good

from bedside.policy import drawing, rulebook, suppressions
from bedside.policy.place import SourceFile

NAMES = (
    "k8s/a.yaml",
    "Dockerfile",
    ".dockerignore",
    "requirements.txt",
    "app.py",
    "bedside.toml",
    "dist/contract.json",
    ".github/workflows/a.yml",
    ".gitlab-ci.yml",
    ".gitlab/ci/a.yml",
    "kustomization.yaml",
    "k8s/kustomization.yaml",
    "-",
)
OVERLAYS = Path(__file__).parent / "overlays"
BASES = (
    good(),
    good("gitlab"),
    {path.relative_to(OVERLAYS).as_posix(): path.read_text() for path in OVERLAYS.rglob("*") if path.is_file()},
)


def _judge(files: dict[str, bytes]) -> None:
    sources = [SourceFile(path, data) for path, data in files.items()]
    found = rulebook.judge(drawing.draw(sources, names=files))
    _marks, problems = suppressions.read(sources)
    for item in [*found, *problems]:
        assert item.rule in rulebook.rules()
        assert item.file in files or item.file == ""


@given(st.sampled_from(NAMES), st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_random_bytes_end_in_findings(name: str, data: bytes) -> None:
    _judge({name: data})


@given(st.sampled_from(NAMES), st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_random_text_ends_in_findings(name: str, text: str) -> None:
    _judge({name: text.encode("utf-8", "surrogatepass")})


@pytest.mark.parametrize("seed", range(60))
def test_a_deployment_with_values_of_any_other_type_ends_in_findings(seed: int) -> None:
    chosen = random.Random(seed)
    replaced = [
        "null",
        "[]",
        "{}",
        "7",
        "-1",
        "'x'",
        "[{}]",
        "[[1]]",
        "{a: {b: c}}",
        "true",
        "1e999",
        "[null]",
        "!!binary aaaa",
        "&x [*x]",
    ]
    base = BASES[seed % len(BASES)]
    files = {path: text.encode() for path, text in base.items()}
    for path, text in base.items():
        if not path.endswith((".yaml", ".yml")):
            continue
        lines = text.split("\n")
        for _ in range(3):
            position = chosen.randrange(len(lines))
            key, colon, _ = lines[position].partition(":")
            if colon:
                lines[position] = f"{key}: {chosen.choice(replaced)}"
        files[path] = "\n".join(lines).encode()
    _judge(files)


@pytest.mark.parametrize("seed", range(60))
def test_a_deployment_with_bytes_lost_and_moved_ends_in_findings(seed: int) -> None:
    chosen = random.Random(seed)
    files = {}
    for path, text in BASES[seed % len(BASES)].items():
        data = bytearray(text.encode())
        for _ in range(4):
            position = chosen.randrange(len(data)) if data else 0
            match chosen.randrange(4):
                case 0:
                    del data[position : position + chosen.randrange(40)]
                case 1:
                    data[position:position] = chosen.choice(
                        [b"\n", b"\x00", b"\xff", b"{{", b'"', b"\\\n", b"<<EOF\n", b": ", b"- "]
                    )
                case 2:
                    data[position:position] = data[chosen.randrange(len(data) + 1) :][:60]
                case _:
                    data[position : position + 1] = bytes([chosen.randrange(256)])
        files[path] = bytes(data)
    _judge(files)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{" * 100_000,
        "- " * 100_000,
        "a: " * 20_000,
        "&a [*a]",
        "? " * 20_000,
        "x" * 300_000,
        "'" + "\n" * 300_000,
    ],
)
def test_hostile_yaml_ends_soon(text: str) -> None:
    _judge({"k8s/a.yaml": text.encode()})


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    found = rulebook.judge(drawing.draw([SourceFile("a.yaml", "\n".join(lines).encode())]))
    assert [item.rule for item in found] == ["BED-INP-001"]


@pytest.mark.parametrize(
    "text", ["(" * 5_000, "x = " + "-" * 50_000 + "1", "f" + "()" * 20_000, "\x00", "if 1:\n" * 90]
)
def test_hostile_python_ends_soon(text: str) -> None:
    _judge({"app.py": text.encode()})


@pytest.mark.parametrize(
    "text",
    ["FROM a\n" + "RUN a\\\n" * 8_000, "FROM a\nRUN <<E\n" * 50, "FROM a\nCMD [", "FROM", "FROM a AS a\nFROM a"],
)
def test_hostile_dockerfiles_end_soon(text: str) -> None:
    _judge({"Dockerfile": text.encode()})


@pytest.mark.parametrize("text", ["\\", "FROM a\n\\", "FROM a\n \\\n\n", "# escape=`\nFROM a\n`\n"])
def test_a_continuation_of_nothing_is_no_dockerfile_and_the_line_is_named(text: str) -> None:
    (problem,) = [item for item in rulebook.judge(drawing.draw([SourceFile("Dockerfile", text.encode())])) if item.file]
    line = text.rstrip().count("\n") + 1
    assert problem.rule == "BED-INP-001"
    assert f"line {line} goes on with nothing" in problem.message
