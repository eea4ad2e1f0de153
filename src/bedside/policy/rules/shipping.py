"""Whether the image that was checked is the image that is pushed, and that the pods pull."""

import re
from collections.abc import Iterator

from bedside.policy.dockerfiles import Dockerfile
from bedside.policy.image_names import split_image
from bedside.policy.kubernetes import place
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.shell import Command
from bedside.policy.shipments import (
    ELSEWHERE,
    builds,
    builds_image,
    built_files,
    image_scans,
    literal_repository,
    pushed_by,
    pushed_repositories,
    pushes,
    scanned_by_template,
    written_out,
)
from bedside.policy.workflows import Step, Workflow


def scan_after_push(picture: Picture) -> Iterator[Hit]:
    """What is pushed can be pulled, also in the minutes before the scan says no."""
    for workflow in picture.workflows:
        for scan, _ in image_scans(workflow):
            before = [step for step in workflow.steps if pushes(step) and workflow.precedes(step, scan)]
            if before and not _to_staging(before[0]) and not _promoted(workflow, before, scan):
                yield Hit(scan.place, "the image is scanned after it was pushed")
                break


def _to_staging(first: Step) -> bool:
    """Whether the first push goes to a place that nothing is deployed from: a local registry or a candidate name."""
    target = first.given("tags") + " ".join(command.text for command in first.commands)
    return re.search(r"localhost|127\.0\.0\.1|staging|candidate|quarantine", target) is not None


def _promoted(workflow: Workflow, before: list[Step], scan: Step) -> bool:
    """Whether the name that is deployed is only pushed after the scan: what was pushed before it is another name."""
    first = {name for step in before for name in pushed_by(step)}
    after = {
        name for step in workflow.steps if pushes(step) and workflow.precedes(scan, step) for name in pushed_by(step)
    }
    return bool(after - first)


def never_scanned(picture: Picture) -> Iterator[Hit]:
    """An image that is built and pushed, and that no workflow scans."""
    scanned = any(
        scanned_by_template(workflow) or any(True for _ in image_scans(workflow)) for workflow in picture.workflows
    )
    for workflow in picture.workflows:
        for step in builds(workflow):
            shipped = any(pushes(other) for other in workflow.steps)
            if shipped and not scanned and picture.whole:
                yield Hit(step.place, "the image is built, pushed and never scanned")
                return


def other_image_scanned(picture: Picture) -> Iterator[Hit]:
    """The scan looks at another name than the push: what is shipped was never looked at."""
    for workflow in picture.workflows:
        pushed = pushed_repositories(workflow)
        unclear = any(re.fullmatch(r"\$(?!CI_)\w+", name) for name in pushed)
        for step, reference in image_scans(workflow):
            scanned = literal_repository(reference, workflow, step)
            if (
                pushed
                and scanned
                and not unclear
                and scanned not in pushed
                and not _loaded_locally(workflow, reference)
            ):
                yield Hit(step.place, f"{scanned} is scanned, but {', '.join(sorted(pushed))} is pushed")


_SHAPING = ("context", "file", "target", "platforms", "build-args", "no-cache", "pull", "build-contexts", "secrets")
"""Inputs of a build that make another image of one source."""


def built_again(picture: Picture) -> Iterator[Hit]:
    """What is scanned is one build and what is pushed another: the scan says nothing of what is shipped."""
    for workflow in picture.workflows:
        scans = [step for step, _ in image_scans(workflow)]
        for last in (_maker(workflow, step) for step in workflow.steps if pushes(step)):
            if last is None or any(workflow.precedes(last, scan) for scan in scans):
                continue
            before = [scan for scan in scans if workflow.precedes(scan, last)]
            first = [step for step in builds(workflow) if any(workflow.precedes(step, scan) for scan in before)]
            difference = _difference(first[-1], last) if first else ""
            if difference:
                yield Hit(last.place, f"what is pushed is built again after the scan, {difference}")


def _maker(workflow: Workflow, pushing: Step) -> Step | None:
    """The step that builds what a step pushes: itself, or the last before it in its job that builds that name."""
    mine = [step for step in builds(workflow) if step.job == pushing.job]
    if pushing in mine:
        return pushing
    names = set(pushed_by(pushing))
    made = [step for step in mine if names & {n for c in step.commands for n in c.options("-t", "--tag")}]
    return made[-1] if made and workflow.precedes(made[-1], pushing) else None


def _difference(one: Step, other: Step) -> str:
    """What may make the second build another image than the first; empty where the builder's cache gives the same."""
    if one.job != other.job and not other.given("cache-from") and "--cache-from" not in other.script:
        return "in another job and without its cache"
    if one.uses and other.uses:
        names = [name for name in _SHAPING if (one.given(name) or "") != (other.given(name) or "")]
        return f"with another {' and another '.join(names)}" if names else ""
    if one.uses or other.uses or _flags(one) != _flags(other):
        return "in another way"
    return ""


def _flags(step: Step) -> list[str]:
    """The words of the build commands of a step, without names and destinations."""
    ways = ("--push", "--load", "build", "bud", "buildx")
    words = [word for command in step.commands if builds_image(command) for word in command.words]
    named = {value for command in step.commands for value in command.options("-t", "--tag", "-o", "--output")}
    return [
        word for word in words if word not in named and word not in ways and not word.startswith(("-t", "--tag", "-o"))
    ]


def _loaded_locally(workflow: Workflow, reference: str) -> bool:
    """Whether the scanned name is built here and then tagged or copied on to the pushed one."""
    texts = " ".join(
        c.text
        for step in workflow.steps
        for c in step.commands
        if c.runs("docker", "tag") or c.runs("podman", "tag") or c.runs("skopeo", "copy")
    )
    return bool(reference) and reference in texts


def no_sbom(picture: Picture) -> Iterator[Hit]:
    """Without a bill of materials nobody can say which running release carries tomorrow's vulnerability."""
    yield from _lacks(picture, r"\b(sbom|cyclonedx|spdx|syft)\b", "no SBOM is made for the pushed image")


def no_signature(picture: Picture) -> Iterator[Hit]:
    """Without a signature the cluster cannot tell this pipeline's image from anyone's."""
    yield from _lacks(
        picture,
        r"\b(cosign|notation|attest-build-provenance|sigstore|bedside sign)\b",
        "the pushed image is not signed",
    )


def _lacks(picture: Picture, pattern: str, message: str) -> Iterator[Hit]:
    for workflow in picture.workflows:
        pushing = [step for step in workflow.steps if pushes(step)]
        if pushing and not re.search(pattern, _told(workflow)):
            yield Hit(pushing[0].place, message)


def _told(workflow: Workflow) -> str:
    """Everything that a workflow says of what it does: not the files that it keeps, nor the tokens that it may get."""
    found: list[str] = []
    waiting = [workflow.node]
    while waiting:
        node = waiting.pop()
        kept = [(key, child) for key, child in node.entries if key not in ("artifacts", "id_tokens", "cache")]
        found += [node.text, *(key for key, _ in kept)]
        waiting += [child for _, child in kept]
    return " ".join(found)


def unbuilt_dockerfile(picture: Picture) -> Iterator[Hit]:
    """A Dockerfile that no workflow builds is checked by nobody."""
    ships = any(pushes(step) for workflow in picture.workflows for step in workflow.steps)
    if not ships and not any(True for workflow in picture.workflows for _ in builds(workflow)):
        return
    paths = frozenset().union(*(built_files(workflow) for workflow in picture.workflows))
    if any(path.endswith(ELSEWHERE) for path in paths):
        return
    unclear = not paths or any("$" in path for path in paths)
    for image in picture.dockerfiles:
        built = image.path in paths or (len(picture.dockerfiles) == 1 and paths)
        if not built and not (unclear and _may_be_built(picture, image)):
            yield Hit(image.stages[0].place, f"no workflow builds {image.path}")


def _may_be_built(picture: Picture, image: Dockerfile) -> bool:
    """Whether something that is built under a variable, or by a program, may be this one: its name or place is said."""
    directory, _, name = image.path.rpartition("/")
    scalars = (node.text for workflow in picture.workflows for node in workflow.node.walk() if node.kind == "scalar")
    text = "\n".join(scalars)
    place = directory.rpartition("/")[2]
    named = re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", text) is not None
    return (named and name not in ("Dockerfile", "Containerfile")) or (bool(place) and place in text)


def repository_mismatch(picture: Picture) -> Iterator[Hit]:
    """The pods pull from a repository that the pipeline does not push to."""
    pushed = frozenset().union(*(pushed_repositories(workflow) for workflow in picture.workflows))
    if not pushed or any("$" in name for name in pushed) or len(picture.dockerfiles) != 1:
        return
    pulling = [pod.containers[0] for pod in picture.serving if len(pod.containers) == 1]
    if any(split_image(container.image)[0] in pushed for container in pulling):
        return  # what else runs beside it is somebody else's image
    names = {name.rsplit("/", 1)[-1] for name in pushed}
    for container in pulling:
        name = split_image(container.image)[0]
        if len(pulling) == 1 or name.rsplit("/", 1)[-1] in names:
            yield Hit(
                place(container.node.at("image")),
                f"{container.title} pulls {name}, but the pipeline pushes {', '.join(sorted(pushed))}",
            )


def uncreated_repository(picture: Picture) -> Iterator[Hit]:
    """The registry that the pipeline creates is not the one that it pushes to."""
    for workflow in picture.workflows:
        created = {
            name: step for step in workflow.steps for command in step.commands if (name := _created(command, workflow))
        }
        pushed = pushed_repositories(workflow)
        for name, step in created.items():
            if "$" not in name and pushed and not any(f"/{name}/" in f"/{ref}/" or "$" in ref for ref in pushed):
                yield Hit(step.place, f"the repository {name} is created, but {', '.join(sorted(pushed))} is pushed")


def _created(command: Command, workflow: Workflow) -> str:
    """The part of an image's name that a command creates a registry or repository for; empty for other commands."""
    words = [written_out(word, workflow) for word in command.words]
    if command.runs("aws", "ecr", "create-repository"):
        return written_out(command.option("--repository-name") or "", workflow)
    if command.runs("az", "acr", "create"):
        name = written_out(command.option("--name", "-n") or "", workflow)
        return f"{name}.azurecr.io" if name else ""
    if command.runs("gcloud", "artifacts", "repositories", "create") and len(words) > 4:
        place = written_out(command.option("--location") or "", workflow)
        project = written_out(command.option("--project") or "", workflow)
        return f"{place}-docker.pkg.dev/{project}/{words[4]}" if place and project else words[4]
    return ""
