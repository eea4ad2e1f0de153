"""CI workflows (GitHub Actions, GitLab CI) as jobs and steps in order."""

from dataclasses import dataclass
from functools import cached_property

from bedside.policy.kubernetes import place
from bedside.policy.place import Place
from bedside.policy.shell import Command, commands
from bedside.policy.yamltree import Node


@dataclass(frozen=True)
class Step:
    """One step: an action or a script."""

    node: Node
    job: str
    gitlab: bool = False

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
        strict = self.node.at("shell").text == "bash"  # which starts with -o pipefail; the default does not
        return commands(self.script, run.line + run.block, pipefail=strict)

    def given(self, name: str) -> str:
        """An input of the action, ``with.<name>``."""
        return self.node.at("with", name).text


@dataclass(frozen=True)
class Workflow:
    """One workflow file."""

    path: str
    node: Node
    gitlab: bool = False

    @cached_property
    def jobs(self) -> tuple[tuple[str, Node], ...]:
        """Jobs by name."""
        if not self.gitlab:
            return self.node.at("jobs").pairs()
        return tuple((name, job) for name, job in self.node.pairs() if job.at("script"))

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """All steps, job after job as they are written."""
        if self.gitlab:
            return tuple(
                Step(line, name, gitlab=True)
                for name, job in self.jobs
                for part in ("before_script", "script", "after_script")
                for line in job.at(part).items() or ((job.at(part),) if job.at(part) else ())
            )
        return tuple(Step(step, name) for name, job in self.jobs for step in job.at("steps").items())

    @property
    def trigger(self) -> Node:
        """What starts it, ``on``."""
        return self.node.at("on")

    def triggered_by(self, event: str) -> bool:
        """Whether this event starts it."""
        on = self.trigger
        return on.text == event or event in dict(on.pairs()) or any(item.text == event for item in on.items())
