"""Slices take turns, the contender stands still in the pacer's, and what others disturbed is made again."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.field import PACER
from benchmarks.load import Load
from benchmarks.machine import Spent
from benchmarks.rounds import Plan, _Side
from benchmarks.workloads import workloads

from benchmarks import load, rounds

LOAD = Load(100, 1_000_000, 0, 0, 100, 0, 0, 0)
PLAN = Plan(PACER, 1, 1.0, 1.0, (16,), 2, Path(), Path())


class Recording:
    """A server that answers rightly, and two lists of what was done."""

    def __init__(self, name: str, done: list[str]) -> None:
        self.name, self.done, self.port, self.path = name, done, 1, f"/{name}"

    def ask(self, body: bytes) -> Any:
        self.done.append(f"ask {self.name}")
        return PACER.body(workloads()[0].patients[0])

    def cpu_seconds(self) -> float:
        return 0.0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        self.done.append(f"stop {self.name}")
        yield
        self.done.append(f"continue {self.name}")


def sides(done: list[str], monkeypatch: pytest.MonkeyPatch, *, others: float) -> tuple[_Side, _Side]:
    def loaded(url: str, *_: object) -> Load:
        done.append(f"load {url.rpartition('/')[2]}")
        return LOAD

    class Watch:
        def spent(self) -> Spent:
            return Spent(others, 0.0, 0.0)

    monkeypatch.setattr(load, "run", loaded)
    monkeypatch.setattr(rounds, "Stopwatch", Watch)
    pacer, own = (_Side(PACER, workloads()[0], Recording(name, done), Path(), 0.0) for name in ("pacer", "own"))  # type: ignore[arg-type]
    return pacer, own


def test_the_contender_stands_still_in_every_slice_of_the_pacer_and_is_right_before_each_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    found = rounds._alternated(PLAN, *sides(done, monkeypatch, others=0.0), 16)
    pace = ["stop own", "ask pacer", "load pacer", "continue own"]
    assert done == ["load own", *pace, *(["ask own", "load own", *pace] * 4)]
    assert (len(found.pacer), len(found.contender)) == (5, 4)  # a second, in slices of a quarter


def test_disturbed_slices_are_made_again_so_often_as_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    found = rounds._alternated(PLAN, *sides([], monkeypatch, others=0.2), 16)
    assert (len(found.pacer), len(found.contender)) == (9, 8)
    assert all(one.disturbed() for one in found.judged())
