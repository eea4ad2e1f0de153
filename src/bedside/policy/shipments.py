"""What a workflow builds, scans and pushes, and under which names."""

import posixpath
import re
from collections.abc import Iterator

from bedside.policy.image_names import split_image
from bedside.policy.shell import Command
from bedside.policy.workflows import Step, Workflow
from bedside.policy.yamltree import Node

IMAGE_SCAN_ACTIONS = ("aquasecurity/trivy-action", "anchore/scan-action", "docker/scout-action", "snyk/actions/docker")
_ENGINES = ("docker", "podman", "buildah", "nerdctl")
_LISTS = ("cyclonedx", "cyclonedx-json", "spdx", "spdx-json", "github")
"""Formats of a list of what is in an image, which is no judgement of it."""

ELSEWHERE = "$named-in-another-file"
"""What stands for a Dockerfile that compose or bake names."""

_KANIKO = ("executor", "kaniko")


def pushes(step: Step) -> bool:
    """Whether a step pushes an image."""
    if step.action.endswith("docker/build-push-action"):
        return step.given("push") == "true" or "push=true" in step.given("outputs")
    return any(push_targets(command) is not None for command in step.commands)


def push_targets(command: Command) -> tuple[str, ...] | None:
    """The references that a command pushes to, ``None`` where it pushes nothing; none where it does not name them."""
    words = command.words
    if command.program in (*_ENGINES, "docker-compose") and "push" in words[1:4]:
        named = [word for word in words[words.index("push") + 1 :] if not word.startswith("-")]
        return tuple(named[-1:]) if "compose" not in f"{command.program} {words[1]}" else ()
    if command.program in _ENGINES and "build" in words and (command.has("--push") or "type=registry" in command.text):
        return command.options("-t", "--tag")
    if command.runs("docker", "buildx", "bake") and command.has("--push"):
        return ()
    if command.program in _KANIKO and not command.has("--no-push", "--no-push=true"):
        return command.options("--destination", "-d") or None
    copies = command.runs("skopeo", "copy") or command.runs("regctl", "image", "copy")
    if copies or (command.program == "crane" and words[1:2] in (("push",), ("copy",), ("cp",))):
        return (words[-1].removeprefix("docker://"),)
    return (words[-1],) if command.runs("bedside", "push") and len(words) > 2 else None


def image_scans(workflow: Workflow) -> Iterator[tuple[Step, str]]:
    """Steps that scan an image, each with the reference that it scans; empty where that cannot be told."""
    for step in workflow.steps:
        if step.action in IMAGE_SCAN_ACTIONS and step.given("scan-type") in ("", "image"):
            yield step, step.given("image-ref") or step.given("image")
        for command in step.commands:
            if _scans_image(command):
                yield step, next((word for word in reversed(command.words) if not word.startswith("-")), "")
            elif command.program == "bedside" and "scan" in command.words:
                yield step, command.words[-1]


def _scans_image(command: Command) -> bool:
    grype = command.program == "grype" and len(command.words) > 1 and command.words[1] not in ("db", "version")
    return (
        command.runs("trivy", "image")
        or grype
        or command.runs("docker", "scout")
        or command.runs("snyk", "container", "test")
    ) and not (command.has("--download-db-only", "--version") or command.option("--format", "-f", "-o") in _LISTS)


def scanned_by_template(workflow: Workflow) -> bool:
    """Whether the pipeline takes in GitLab's own job for scanning containers."""
    included = workflow.node.at("include")
    named = " ".join(node.text for node in included.walk() if node.kind == "scalar")
    return workflow.gitlab and "container-scanning" in named.lower()


def builds(workflow: Workflow) -> Iterator[Step]:
    """Steps that build an image."""
    for step in workflow.steps:
        named = step.action.endswith("docker/build-push-action")
        if named or any(builds_image(command) for command in step.commands):
            yield step


def builds_image(command: Command) -> bool:
    """Whether a command builds an image."""
    engine = command.program in _ENGINES and {"build", "bud"} & set(command.words[1:3])
    return bool(engine) or (command.program in _KANIKO and command.has("--context", "-c", "--dockerfile", "-f"))


def built_files(workflow: Workflow) -> frozenset[str]:
    """Paths of the Dockerfiles that a workflow builds, from where it was named; one with a variable in it stays so."""
    root = workflow.path.partition(".github/")[0] if not workflow.gitlab else workflow.path.rpartition("/")[0]
    found: set[str] = set()
    for step in builds(workflow):
        if step.action.endswith("docker/build-push-action"):
            context = step.given("context") or "."
            found.add(step.given("file") or f"{context}/Dockerfile")
        for command in step.commands:
            if builds_image(command):
                found.add(_built_file(command))
    return frozenset(posixpath.normpath(posixpath.join(root, path)) for path in found)


def _built_file(command: Command) -> str:
    """The Dockerfile of a build; a variable where another file says which."""
    if {"compose", "bake"} & set(command.words[1:3]):
        return ELSEWHERE
    named = command.option("-f", "--file", "--dockerfile")
    context = command.option("-c", "--context") if command.program in _KANIKO else command.words[-1]
    return named or f"{context or '.'}/Dockerfile"


def pushed_by(step: Step) -> tuple[str, ...]:
    """Every reference that a step pushes to."""
    if step.action.endswith("docker/build-push-action") and step.given("push") == "true":
        return tuple(name for name in re.split(r"[\s,]+", _tight(step.given("tags"))) if name)
    return tuple(name for command in step.commands for name in push_targets(command) or ())


def pushed_repositories(workflow: Workflow) -> frozenset[str]:
    """The repository of every reference that is pushed, the workflow's own variables written in."""
    found = (literal_repository(name, workflow, step) for step in workflow.steps for name in pushed_by(step))
    return frozenset(found) - {""}


def repository(reference: str) -> str:
    """A reference without tag and digest; empty where it is an output of another step."""
    if not reference or _tight(reference).startswith("${{steps."):
        return ""
    return split_image(_tight(reference).strip("\"'"))[0]


def _tight(text: str) -> str:
    """Expressions without the spaces inside, so that one expression is one word."""
    return re.sub(r"\s*\}\}", "}}", re.sub(r"\$\{\{\s*", "${{", text))


def written_out(reference: str, workflow: Workflow, step: Step | None = None) -> str:
    """A reference with the variables of the workflow, and of a step, written in; others stay, all in one form."""
    text = _tight(reference)
    own = step.node.at("env").strings() if step is not None and not workflow.gitlab else {}
    for name, value in (_by_length(own) | _variables(workflow)).items():
        for form in ("${{env." + name + "}}", "${" + name + "}", "$" + name):
            text = text.replace(form, value)
    return re.sub(r"\$\{(\w+)\}", r"$\1", text)


def literal_repository(reference: str, workflow: Workflow, step: Step | None = None) -> str:
    """The repository of a reference with the variables of the workflow, and of a step, written in."""
    return repository(written_out(reference, workflow, step))


def _variables(workflow: Workflow) -> dict[str, str]:
    field = "variables" if workflow.gitlab else "env"
    known: dict[str, str] = {}
    for holder in (workflow.node, *(job for _, job in workflow.jobs)):
        known |= {name: _value(node) for name, node in holder.at(field).pairs()}
    return _by_length(known)


def _by_length(known: dict[str, str]) -> dict[str, str]:
    """The longest name first: $IMAGE_TAG, then $IMAGE."""
    return dict(sorted(known.items(), key=lambda item: -len(item[0])))


def _value(node: Node) -> str:
    """A variable's value, written alone or, in GitLab, with a description beside it."""
    return node.at("value").text if node.kind == "map" else node.text
