"""The environment of a process, and how it may differ from the validated one."""

import os
import platform

import msgspec
import pytest

from bedside_runtime import environment
from bedside_runtime.contract import Environment
from bedside_runtime.errors import EnvironmentMismatch

THEN = Environment(
    python="3.11.7",
    implementation="cpython",
    machine="x86_64",
    libc="glibc 2.36",
    blas={"blas scipy-openblas": "0.3.31"},
    threads={"OMP_NUM_THREADS": "1"},
    distributions={"numpy": "2.3.0", "bedside-runtime": "0.1.0"},
)


def test_an_environment_equals_itself() -> None:
    assert environment.require(THEN, THEN) == ()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"python": "3.12.0"}, "Python: validated with 3.11, here is 3.12"),
        ({"implementation": "pypy"}, "implementation: validated with cpython, here is pypy"),
        ({"machine": "aarch64"}, "machine: validated with x86_64, here is aarch64"),
        ({"distributions": {**THEN.distributions, "numpy": "2.3.1"}}, "numpy: validated with 2.3.0, here is 2.3.1"),
        ({"distributions": {"bedside-runtime": "0.1.0"}}, "numpy: validated with 2.3.0, here is none"),
        ({"distributions": {**THEN.distributions, "dill": "1"}}, "dill: validated with none, here is 1"),
    ],
)
def test_another_python_or_distribution_is_refused_by_name(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(EnvironmentMismatch, match=sentence):
        environment.require(THEN, msgspec.structs.replace(THEN, **changes))


@pytest.mark.parametrize(
    "changes", [{"python": "3.11.9"}, {"libc": "glibc 2.41"}, {"blas": {}}, {"threads": {"OMP_NUM_THREADS": "2"}}]
)
def test_what_the_replay_can_judge_is_a_note(changes: dict[str, object]) -> None:
    assert len(environment.require(THEN, msgspec.structs.replace(THEN, **changes))) == 1


def test_a_fingerprint_describes_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "3")
    here = environment.fingerprint()
    assert here.python == platform.python_version()
    assert here.threads["OMP_NUM_THREADS"] == "3"
    assert here.distributions["prometheus-client"]
    assert here.distributions == dict(sorted(here.distributions.items()))
