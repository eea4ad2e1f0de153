"""Whether the image that was checked is the image that is pushed, and that the pods pull."""

import re
from collections.abc import Iterator

from bedside.policy.image_names import split_image
from bedside.policy.kubernetes import place
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.shipments import builds, image_scans, literal_repository, pushed_names, pushes
from bedside.policy.workflows import Step, Workflow


def _pushed_before(workflow: Workflow, step: Step) -> bool:
    for other in workflow.steps:
        if other is step:
            return False
        if other.job == step.job and pushes(other):
            return True
    return False


def scan_after_push(picture: Picture) -> Iterator[Hit]:
    """What is pushed can be pulled, also in the minutes before the scan says no."""
    for workflow in picture.workflows:
        for step, _ in image_scans(workflow):
            if _pushed_before(workflow, step) and not _to_staging(workflow):
                yield Hit(step.place, "the image is scanned after it was pushed")
                break


def _to_staging(workflow: Workflow) -> bool:
    """Whether the first push goes to a place that nothing is deployed from: a local registry or a candidate name."""
    targets = [step.given("tags") + " ".join(c.text for c in step.commands) for step in workflow.steps if pushes(step)]
    return bool(targets) and re.search(r"localhost|127\.0\.0\.1|staging|candidate|quarantine", targets[0]) is not None


def never_scanned(picture: Picture) -> Iterator[Hit]:
    """An image that is built and pushed, and that no workflow scans."""
    scanned = any(True for workflow in picture.workflows for _ in image_scans(workflow))
    for workflow in picture.workflows:
        for step in builds(workflow):
            shipped = any(pushes(other) for other in workflow.steps)
            if shipped and not scanned and picture.whole:
                yield Hit(step.place, "the image is built, pushed and never scanned")
                return


def other_image_scanned(picture: Picture) -> Iterator[Hit]:
    """The scan looks at another name than the push: what is shipped was never looked at."""
    for workflow in picture.workflows:
        pushed = {literal_repository(ref, workflow) for ref in pushed_names(workflow)} - {""}
        for step, reference in image_scans(workflow):
            scanned = literal_repository(reference, workflow)
            if pushed and scanned and scanned not in pushed and not _loaded_locally(workflow, reference):
                yield Hit(step.place, f"{scanned} is scanned, but {', '.join(sorted(pushed))} is pushed")


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
        text = " ".join(f"{node.text}" for node in workflow.node.walk() if node.kind == "scalar")
        keys = " ".join(key for node in workflow.node.walk() for key, _ in node.pairs())
        pushing = [step for step in workflow.steps if pushes(step)]
        if pushing and not re.search(pattern, f"{text} {keys}"):
            yield Hit(pushing[0].place, message)


def unbuilt_dockerfile(picture: Picture) -> Iterator[Hit]:
    """A Dockerfile that no workflow builds is checked by nobody."""
    if not picture.workflows or not picture.dockerfiles or not any(True for w in picture.workflows for _ in builds(w)):
        return
    text = "\n".join(
        node.text for workflow in picture.workflows for node in workflow.node.walk() if node.kind == "scalar"
    )
    for image in picture.dockerfiles:
        name = image.path.rsplit("/", 1)[-1]
        directory = image.path.rpartition("/")[0].rsplit("/", 1)[-1]
        default = name in ("Dockerfile", "Containerfile")
        if not (
            name in text
            if not default
            else (not directory or len(picture.dockerfiles) == 1 or directory in text or name in text)
        ):
            yield Hit(image.stages[0].place, f"no workflow builds {image.path}")


def repository_mismatch(picture: Picture) -> Iterator[Hit]:
    """The pods pull from a repository that the pipeline does not push to."""
    pushed = {literal_repository(ref, workflow) for workflow in picture.workflows for ref in pushed_names(workflow)} - {
        ""
    }
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
            name: step
            for step in workflow.steps
            for command in step.commands
            if command.runs("aws", "ecr", "create-repository") and (name := command.option("--repository-name"))
        }
        pushed = {literal_repository(ref, workflow) for ref in pushed_names(workflow)} - {""}
        for name, step in created.items():
            if "$" not in name and pushed and not any(ref.endswith("/" + name) or "$" in ref for ref in pushed):
                yield Hit(step.place, f"the repository {name} is created, but {', '.join(sorted(pushed))} is pushed")
