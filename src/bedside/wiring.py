"""Where effects are chosen: one place makes the real runner, resolver and caches that the verbs work with."""

from dataclasses import dataclass

from bedside.locking.environments import EnvironmentCache, cache_directory
from bedside.locking.uv import Uv
from bedside.process import Runner, Subprocess


@dataclass(frozen=True, slots=True)
class Tools:
    """The effects that verbs are given."""

    runner: Runner
    uv: Uv
    environments: EnvironmentCache


def tools() -> Tools:
    """Return the real ones, for this user on this machine."""
    runner = Subprocess()
    uv = Uv(runner)
    return Tools(runner, uv, EnvironmentCache(uv, cache_directory()))
