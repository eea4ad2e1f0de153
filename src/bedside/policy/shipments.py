"""What a workflow builds, scans and pushes, and under which names."""

import re
from collections.abc import Iterator

from bedside.policy.image_names import split_image
from bedside.policy.shell import Command
from bedside.policy.workflows import Step, Workflow

IMAGE_SCAN_ACTIONS = ("aquasecurity/trivy-action", "anchore/scan-action", "docker/scout-action", "snyk/actions/docker")


def pushes(step: Step) -> bool:
    """Whether a step pushes an image."""
    if step.action.endswith("docker/build-push-action"):
        return step.given("push") == "true" or "push=true" in step.given("outputs")
    return any(push_target(command) is not None for command in step.commands)


def push_target(command: Command) -> str | None:
    """The reference that a command pushes to, ``None`` where it pushes nothing."""
    if command.program in ("docker", "podman", "buildah") and "push" in command.words[1:3]:
        return command.words[-1]
    if command.program == "docker" and "build" in command.words and "--push" in command.words:
        return command.option("-t", "--tag")
    if command.runs("skopeo", "copy") or command.runs("crane", "push"):
        return command.words[-1].removeprefix("docker://")
    return None


def image_scans(workflow: Workflow) -> Iterator[tuple[Step, str]]:
    """Steps that scan an image, each with the reference that it scans; empty where that cannot be told."""
    for step in workflow.steps:
        if step.action in IMAGE_SCAN_ACTIONS and step.given("scan-type") in ("", "image"):
            yield step, step.given("image-ref") or step.given("image")
        for command in step.commands:
            if (
                command.runs("trivy", "image")
                or (command.program == "grype" and len(command.words) > 1)
                or command.runs("docker", "scout")
            ):
                yield step, next((word for word in reversed(command.words) if not word.startswith("-")), "")
            elif command.program == "bedside" and "scan" in command.words:
                yield step, command.words[-1]


def builds(workflow: Workflow) -> Iterator[Step]:
    """Steps that build an image."""
    for step in workflow.steps:
        named = step.action.endswith("docker/build-push-action")
        if named or any(
            c.program in ("docker", "podman", "buildah") and {"build", "bud"} & set(c.words[1:3]) for c in step.commands
        ):
            yield step


def pushed_names(workflow: Workflow) -> Iterator[str]:
    """Every reference that is pushed."""
    for step in workflow.steps:
        if step.action.endswith("docker/build-push-action") and step.given("push") == "true":
            yield from re.split(r"[\s,]+", _tight(step.given("tags")))
        for command in step.commands:
            target = push_target(command)
            if target:
                yield target


def repository(reference: str) -> str:
    """A reference without tag and digest; empty where it is an output of another step."""
    if not reference or _tight(reference).startswith("${{steps."):
        return ""
    return split_image(_tight(reference).strip("\"'"))[0]


def _tight(text: str) -> str:
    """Expressions without the spaces inside, so that one expression is one word."""
    return re.sub(r"\s*\}\}", "}}", re.sub(r"\$\{\{\s*", "${{", text))


def literal_repository(reference: str, workflow: Workflow) -> str:
    """The repository of a reference with the workflow's own ``env`` written in."""
    known = workflow.node.at("env").strings()
    for _, job in workflow.jobs:
        known |= job.at("env").strings()
    text = _tight(reference)
    for name, value in known.items():
        for form in ("${{env." + name + "}}", "${" + name + "}", "$" + name):
            text = text.replace(form, value)
    return repository(text)
