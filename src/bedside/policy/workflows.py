"""CI workflows (GitHub Actions, GitLab CI) as jobs and steps in order."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from bedside.policy import gitlab as gitlab_ci
from bedside.policy.kubernetes import place
from bedside.policy.place import Place
from bedside.policy.shell import Command, commands
from bedside.policy.yamltree import Node


@dataclass(frozen=True)
class Step:
    """One step: an action, or a script; of GitLab, one line of a script.

    Attributes:
        lenient: Whether a line before it, or where it stands, lets its failure pass.
    """

    node: Node
    job: str
    gitlab: bool = False
    lenient: bool = False

    @property
    def uses(self) -> str:
        """The action, ``docker/build-push-action@<commit>``; empty for a script."""
        return "" if self.gitlab else self.node.at("uses").text

    @property
    def action(self) -> str:
        """The action without its version."""
        return self.uses.partition("@")[0]

    @property
    def script(self) -> str:
        """The shell text; empty for an action."""
        if self.gitlab:
            return self.node.text
        return self.node.at("run").text

    @property
    def place(self) -> Place:
        """Its lines."""
        return place(self.node)

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        """What the script runs."""
        run = self.node if self.gitlab else self.node.at("run")
        # GitLab's runner sets pipefail where the shell has it; GitHub's bash does when it is asked for by name.
        strict = self.gitlab or self.node.at("shell").text == "bash"
        return commands(self.script, run.line + run.block, pipefail=strict, lenient=self.lenient)

    def given(self, name: str) -> str:
        """An input of the action, ``with.<name>``."""
        return self.node.at("with", name).text


@dataclass(frozen=True)
class Workflow:
    """One workflow file; of GitLab, the whole pipeline that begins in it."""

    path: str
    node: Node
    gitlab: bool = False

    @cached_property
    def jobs(self) -> tuple[tuple[str, Node], ...]:
        """Jobs by name."""
        if not self.gitlab:
            return self.node.at("jobs").pairs()
        return tuple(
            (name, job)
            for name, job in self.node.pairs()
            if job.kind == "map" and name not in gitlab_ci.KEYWORDS and not name.startswith(".")
        )

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """All steps, job after job as they are written."""
        if self.gitlab:
            return tuple(step for name, job in self.jobs for step in _lines(name, job))
        return tuple(Step(step, name) for name, job in self.jobs for step in job.at("steps").items())

    def steps_of(self, job: str) -> tuple[Step, ...]:
        """The steps of one job."""
        return tuple(step for step in self.steps if step.job == job)

    @property
    def trigger(self) -> Node:
        """What starts it, ``on``."""
        return self.node.at("on")

    def triggered_by(self, event: str) -> bool:
        """Whether this event starts it."""
        on = self.trigger
        return on.text == event or event in dict(on.pairs()) or any(item.text == event for item in on.items())

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """The stages of a GitLab pipeline, in order."""
        own = tuple(item.text for item in self.node.at("stages").items())
        return (".pre", *own, ".post") if own else gitlab_ci.STAGES

    @cached_property
    def _after(self) -> dict[str, frozenset[str]]:
        """For each job, those that have ended before it begins."""
        return {name: frozenset(self._before(name, job)) for name, job in self.jobs}

    def _before(self, name: str, job: Node) -> Iterator[str]:
        known = dict(self.jobs)
        if self.gitlab and job.at("needs").kind == "absent":
            mine = self._stage(job)
            yield from (other for other, held in self.jobs if 0 <= self._stage(held) < mine)
            return
        waiting, seen = [name], {name}
        while waiting:
            for needed in needs(known[waiting.pop()]):
                if needed in known and needed not in seen:
                    seen.add(needed)
                    waiting.append(needed)
                    yield needed

    def _stage(self, job: Node) -> int:
        stage = job.at("stage").text or "test"
        return self.stages.index(stage) if stage in self.stages else -1

    def precedes(self, one: Step, other: Step) -> bool:
        """Whether a step has certainly ended when another begins."""
        if one.job == other.job:
            return self._position[id(one)] < self._position[id(other)]
        return one.job in self._after.get(other.job, ())

    @cached_property
    def _position(self) -> dict[int, int]:
        return {id(step): position for position, step in enumerate(self.steps)}


def needs(job: Node) -> tuple[str, ...]:
    """The jobs that one says it needs."""
    listed = job.at("needs").items() or ((job.at("needs"),) if job.at("needs").text else ())
    return tuple(item.at("job").text or item.text for item in listed)


def _lines(name: str, job: Node) -> Iterator[Step]:
    lenient = False
    for part in gitlab_ci.SCRIPTS:
        lenient = lenient or part == "after_script"  # which runs whatever happened, and changes nothing
        for line in job.at(part).items() or ((job.at(part),) if job.at(part).text else ()):
            yield Step(line, name, gitlab=True, lenient=lenient)
            lenient = (lenient or "set +e" in line.text) and "set -e" not in line.text
