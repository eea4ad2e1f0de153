"""Whether a workflow can run at all: its form, the names that it uses, the order of its steps, its credentials."""

import difflib
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from bedside.policy import gitlab
from bedside.policy.kubernetes import place
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.shell import Command
from bedside.policy.shipments import builds, image_scans, literal_repository, pushed_by, pushes
from bedside.policy.workflows import Step, Workflow, needs
from bedside.policy.yamltree import Node

_SHIPPING = ("docker", "podman", "buildah", "cosign", "skopeo", "crane", "trivy", "grype", "kubectl", "helm", "test")
_GIVEN = re.compile(
    r"(GITHUB|RUNNER|ACTIONS|INPUT|CI|DOCKER|AWS|GOOGLE|AZURE|KUBE|XDG|LC)(_\w+)?|HOME|PATH|PWD|USER|SHELL|TMPDIR"
)
_KEYLESS = {
    "actions/attest-build-provenance": "",
    "actions/attest-sbom": "",
    "actions/attest": "",
    "aws-actions/configure-aws-credentials": "role-to-assume",
    "google-github-actions/auth": "workload_identity_provider",
    "azure/login": "client-id",
}
"""Actions that ask GitHub who they are, each with the input that makes them do so."""


def refused(picture: Picture) -> Iterator[Hit]:
    """It is refused, or never starts: the checks in it are checks that nobody makes."""
    for workflow in picture.workflows:
        if workflow.gitlab:
            yield from _refused_by_gitlab(picture, workflow)
            continue
        trigger = workflow.trigger
        if not trigger.text and not trigger.pairs() and not trigger.items():
            yield Hit(place(trigger) if trigger else place(workflow.node), "nothing starts this workflow: it has no on")
        if not workflow.jobs:
            yield Hit(place(workflow.node), "this workflow has no jobs")
        for name, job in workflow.jobs:
            if job.at("uses"):
                continue
            for field in ("runs-on", "steps"):
                if not job.at(field) or (field == "steps" and not job.at(field).items()):
                    yield Hit(place(job), f"the job {name} has no {field}")
        for step in workflow.steps:
            if bool(step.node.at("uses")) == bool(step.node.at("run")):
                yield Hit(step.place, "a step runs one script or one action, and this one does not")


def _refused_by_gitlab(picture: Picture, workflow: Workflow) -> Iterator[Hit]:
    """What GitLab calls an invalid pipeline; where parts come from elsewhere, a name may come from there too."""
    for entry, path in gitlab.local_includes(workflow.node, workflow.path) if picture.whole else ():
        if path not in picture.names and not re.search(r"[*$]", path):
            yield Hit(place(entry), f"{path} is included, and is not there")
    if not workflow.jobs:
        yield Hit(place(workflow.node), "this pipeline has no jobs")
    for name, job in workflow.jobs:
        if job.at("id_tokens").pairs() and not all(token.at("aud") for _, token in job.at("id_tokens").pairs()):
            yield Hit(place(job.at("id_tokens")), f"a token of the job {name} is for nobody: it has no aud")
        if not gitlab.takes_from_elsewhere(workflow.node):
            yield from _missing_in_job(workflow, name, job)


def _missing_in_job(workflow: Workflow, name: str, job: Node) -> Iterator[Hit]:
    """What a job lacks, or names and no part of the pipeline has."""
    script = job.at("script")
    if not (script.items() or script.text or job.at("trigger") or job.at("run")):
        yield Hit(place(job), f"the job {name} has no script")
    stage = job.at("stage").text or "test"
    if stage not in workflow.stages and "$" not in stage:
        yield Hit(place(job.at("stage")), f"the job {name} is in the stage {stage}, which is not listed")
    known = dict(workflow.jobs)
    for needed in needs(job):
        if needed not in known and "$" not in needed:
            yield Hit(place(job.at("needs")), f"the job {name} needs {needed}, which is no job")
    for base in job.at("extends").items() or ((job.at("extends"),) if job.at("extends").text else ()):
        if workflow.node.at(base.text).kind == "absent":
            yield Hit(place(base), f"the job {name} extends {base.text}, which is not there")
    for step in workflow.steps_of(name):
        if step.node.kind == "list":
            said = " ".join(item.text for item in step.node.items())
            yield Hit(step.place, f"the job {name} refers to {said}, which is not there")


def undefined_names(picture: Picture) -> Iterator[Hit]:
    """A name that nothing defines is the empty text: what is scanned, signed or pushed is then another thing."""
    for workflow in picture.workflows:
        if workflow.gitlab:
            yield from _misspelt_variables(workflow)
            continue
        text = "\n".join(f"{key}={node.text}" for part in workflow.node.walk() for key, node in part.pairs())
        for name, job in workflow.jobs:
            ids = {step.node.at("id").text for step in workflow.steps if step.job == name}
            needed = {job.at("needs").text, *(item.text for item in job.at("needs").items())}
            for node in (item for item in job.walk() if item.kind == "scalar" and "${{" in item.text):
                for kind, used in re.findall(r"(?<![\w.])(steps|needs|env)\.([\w-]+)", node.text):
                    known = {"steps": ids, "needs": needed, "env": _set(text, used)}[kind]
                    if used not in known:
                        yield Hit(place(node), f"{kind}.{used} is not defined in the job {name}")
        for step in workflow.steps:
            for command in step.commands:
                yield from _undefined_variables(step, command, text)


@cache
def _predefined() -> tuple[str, ...]:
    """GitLab's own variables."""
    return tuple((files("bedside.policy") / "data" / "gitlab_variables.txt").read_text().split())


def _misspelt_variables(workflow: Workflow) -> Iterator[Hit]:
    """A variable that begins as GitLab's own do, that nobody sets, and that almost is one of them."""
    text = "\n".join(f"{key}={node.text}" for part in workflow.node.walk() for key, node in part.pairs())
    for step in workflow.steps:
        for name in dict.fromkeys(re.findall(r"\$\{?(CI_[A-Z0-9_]+)", step.script)):
            nearest = difflib.get_close_matches(name, _predefined(), 1, 0.88)
            if name not in _predefined() and nearest and not re.search(rf"\b{name}=", text):
                yield Hit(step.place, f"nothing sets ${name}; GitLab's own is ${nearest[0]}")


def _set(text: str, name: str) -> set[str]:
    """``name`` alone where some key, assignment or script sets it, or an action may."""
    return {name} if re.search(rf"(?<![\w.]){name}\s*[=:<]", text) or not name.isupper() else set()


def _undefined_variables(step: Step, command: Command, text: str) -> Iterator[Hit]:
    if command.program not in _SHIPPING or step.node.at("shell").text not in ("", "bash", "sh"):
        return
    for name in {found for word in command.words for found in re.findall(r"\$\{?([A-Z][A-Z0-9_]{2,})\}?", word)}:
        assigned = re.search(rf"\b(read|for|export|local|declare)\b[^\n]*\b{name}\b", text)
        if not _GIVEN.fullmatch(name) and not assigned and name not in _set(text, name):
            yield Hit(step.place, f"{command.program} is given ${name}, which nothing sets")


def identity(picture: Picture) -> Iterator[Hit]:
    """Without id-token: write a job cannot say who it is: signing and logging in without a key always fail."""
    for workflow in picture.workflows:
        for name, job in workflow.jobs:
            if workflow.gitlab:
                yield from _unnamed_job(workflow, name, job)
                continue
            granted = (
                job.at("permissions") if job.at("permissions").kind != "absent" else workflow.node.at("permissions")
            )
            if granted.at("id-token").text == "write" or granted.text == "write-all":
                continue
            for step in (step for step in workflow.steps if step.job == name):
                wanted = _KEYLESS.get(step.action)
                keyless = wanted is not None and (not wanted or bool(step.given(wanted)))
                signs = any(command.runs("cosign", "sign") and not command.has("--key") for command in step.commands)
                stored = any(step.given(field) for field in ("creds", "aws-access-key-id", "credentials_json"))
                if (keyless or (signs and "COSIGN_KEY" not in step.script)) and not stored:
                    yield Hit(step.place, f"the job {name} may not ask for the identity that this step needs")


def _unnamed_job(workflow: Workflow, name: str, job: Node) -> Iterator[Hit]:
    """A job that signs without a key, and that GitLab gives no token to say who it is."""
    tokens = {key for holder in (job, workflow.node.at("default")) for key, _ in holder.at("id_tokens").pairs()}
    for step in workflow.steps_of(name):
        signs = any(command.runs("cosign", "sign") and not command.has("--key") for command in step.commands)
        if signs and "SIGSTORE_ID_TOKEN" not in tokens and "COSIGN_KEY" not in step.script:
            yield Hit(step.place, f"the job {name} has no SIGSTORE_ID_TOKEN to sign with, nor a key")


def missing_inputs(picture: Picture) -> Iterator[Hit]:
    """An action without what it works on or with fails, or does something else."""
    for workflow in picture.workflows:
        for step in workflow.steps:
            match step.action:
                case "docker/login-action":
                    lacking = [field for field in ("username", "password") if not step.given(field)]
                    if lacking and "amazonaws" not in step.given("registry"):
                        yield Hit(step.place, f"the login has no {' and no '.join(lacking)}")
                case "aquasecurity/trivy-action":
                    told = any(step.given(field) for field in ("image-ref", "input", "scan-ref"))
                    if not told and step.given("scan-type") in ("", "image"):
                        yield Hit(step.place, "the scan does not say what it scans")
                case "docker/build-push-action":
                    if step.given("push") == "true" and not step.given("tags") and not step.given("outputs"):
                        yield Hit(step.place, "an image is pushed without a name")
                case _:
                    pass
        yield from _other_login(workflow)


def _other_login(workflow: Workflow) -> Iterator[Hit]:
    """Logins, all by the action, of which none is to the registry that is pushed to."""
    for name, _ in workflow.jobs:
        steps = [step for step in workflow.steps if step.job == name]
        logins = [step for step in steps if step.action == "docker/login-action"]
        scripted = any("login" in command.words for step in steps for command in step.commands)
        hosts = {
            literal_repository(reference, workflow, step).partition("/")[0]
            for step in steps
            for reference in pushed_by(step)
        }
        named = {host for host in hosts if re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", host)} - {"docker.io"}
        known = {step.given("registry") or "docker.io" for step in logins}
        plain = not any("$" in host or "/" in host for host in known)
        if logins and not scripted and plain and named and not named & known:
            said = f"the login is to {', '.join(sorted(known))}, but {', '.join(sorted(named))} is pushed to"
            yield Hit(logins[0].place, said)


def impossible_order(picture: Picture) -> Iterator[Hit]:
    """A step that needs what no step before it makes: it fails, or works on what was there yesterday."""
    for workflow in picture.workflows:
        if not workflow.gitlab:  # which checks out by itself
            yield from _without_source(workflow)
        yield from _scanned_too_early(workflow)
        signs = [s for s in workflow.steps if any(c.runs("cosign", "sign") for c in s.commands)]
        if signs and any(True for _ in builds(workflow)) and not any(pushes(step) for step in workflow.steps):
            yield Hit(signs[0].place, "what is signed is built here and never pushed")
        yield from _missing_dockerfile(picture, workflow)


def _without_source(workflow: Workflow) -> Iterator[Hit]:
    fetched: set[str] = set()
    for step in workflow.steps:
        brings = step.action in ("actions/checkout", "actions/download-artifact") or "git clone" in step.script
        if brings or step.uses.startswith("./") or step.node.at("if"):
            fetched.add(step.job)
        context = step.given("context") if step.action == "docker/build-push-action" else ""
        if context and not context.startswith(("{", "$", "http", "git")) and step.job not in fetched:
            yield Hit(step.place, f"the job {step.job} builds from {context} without a checkout before")


def _scanned_too_early(workflow: Workflow) -> Iterator[Hit]:
    for scan, reference in image_scans(workflow):
        before = [step for step in workflow.steps if workflow.precedes(step, scan)]
        after = [step for step in workflow.steps if workflow.precedes(scan, step)]
        name = reference.strip().strip("\"'")
        later = any(name and (name in step.given("tags") or name in pushed_by(step)) and pushes(step) for step in after)
        made = [
            step for step in before if name and name in {tag for c in step.commands for tag in c.options("-t", "--tag")}
        ]
        if later and not any(_makes(workflow, step, name) for step in before):
            yield Hit(scan.place, "the image is scanned before it was built under that name")
        elif made and all(step.job != scan.job for step in made) and not _handed_over(workflow, name, scan):
            yield Hit(scan.place, f"the image was built in the job {made[-1].job}, and never left it")


def _handed_over(workflow: Workflow, name: str, scan: Step) -> bool:
    """Whether an image reaches another job: it is pushed before under that name, saved to a file, or pulled."""
    before = [step for step in workflow.steps if workflow.precedes(step, scan)]
    moved = re.compile(r"\b(save|load|pull|docker-archive|oci-archive|type=docker|type=oci|type=tar|--input|cache)\b")
    return any(name in pushed_by(step) for step in before) or any(
        moved.search(f"{step.script} {step.given('outputs')}") or "artifact" in step.action for step in before
    )


def _makes(workflow: Workflow, step: Step, name: str) -> bool:
    if step.action == "docker/build-push-action":
        driver = any(one.action == "docker/setup-buildx-action" for one in workflow.steps if one.job == step.job)
        kept = not driver or step.given("load") == "true" or pushes(step) or bool(step.given("outputs"))
        return name in step.given("tags") and kept
    verbs = ("build", "bud", "tag", "load", "pull", "import")
    return (bool(step.uses) and "build" in step.action) or any(
        verb in command.words[1:3] for command in step.commands for verb in verbs
    )


def _missing_dockerfile(picture: Picture, workflow: Workflow) -> Iterator[Hit]:
    root, marker, _ = workflow.path.partition(".github/")
    if not picture.whole or not marker:
        return
    for step in workflow.steps:
        context = step.given("context")
        file = step.given("file") or (f"{context}/Dockerfile" if context else "")
        local = file and not re.search(r"[{$:]", file + context)
        path = root + re.sub(r"^(\./)+|(?<=/)\./", "", file.replace("//", "/")) if local else ""
        if step.action == "docker/build-push-action" and path and path not in picture.names and picture.saw(path):
            yield Hit(step.place, f"{path} is built, and is not there")
