"""Whether the pipeline can say no, and whether what it checked is what it ships."""

import re
from collections.abc import Iterator

from bedside.policy.kubernetes import place
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.rules.credentials import SECRET_NAME, is_value
from bedside.policy.shell import Command
from bedside.policy.shipments import IMAGE_SCAN_ACTIONS, pushed_by, pushes
from bedside.policy.workflows import Step, Workflow
from bedside.policy.yamltree import Node

_UNTRUSTED = re.compile(
    r"\$\{\{[^}]*(github\.event\.(issue|pull_request|comment|review|discussion|head_commit|commits|pages|workflow_run)[\w.\[\]*]*"
    r"\.?(title|body|message|ref|label|name|email|page_name|head_branch|default_branch)|github\.head_ref|inputs\.|github\.event\.inputs)"
)
_SCANNERS = (
    "trivy",
    "grype",
    "pip-audit",
    "safety",
    "snyk",
    "osv-scanner",
    "bandit",
    "semgrep",
    "checkov",
    "hadolint",
    "zizmor",
    "kubeconform",
)


def pinned_actions(picture: Picture) -> Iterator[Hit]:
    """A tag of somebody else's action can be moved to other code, with this pipeline's credentials."""
    for workflow in picture.workflows:
        if workflow.gitlab:
            yield from _moving_includes(workflow.node.at("include"))
            continue
        used = [step.node.at("uses") for step in workflow.steps] + [job.at("uses") for _, job in workflow.jobs]
        for node in used:
            version = node.text.partition("@")[2]
            local = node.text.startswith(("./", "docker://", *_BY_TAG)) or node.text == ""
            if not local and not _COMMIT.fullmatch(version):
                yield Hit(place(node), f"{node.text} is not pinned by commit")


_BY_TAG = ("slsa-framework/slsa-github-generator/.github/workflows/",)
"""Workflows that prove who built by their tag, and refuse to run from a commit."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


def _moving_includes(include: Node) -> Iterator[Hit]:
    """Includes of other people's pipelines that may say something else tomorrow."""
    for entry in include.items() or ((include,) if include else ()):
        remote = entry.at("remote").text or (entry.text if "://" in entry.text else "")
        if remote and not entry.at("integrity").text:
            yield Hit(place(entry), f"{remote} is included without its integrity, whatever it says by then")
        elif entry.at("project").text and not _COMMIT.fullmatch(entry.at("ref").text):
            version = entry.at("ref").text or "its default branch"
            yield Hit(place(entry), f"{entry.at('project').text} is included from {version}, not from a commit")
        elif entry.at("component").text:
            name, _, version = entry.at("component").text.partition("@")
            if not _COMMIT.fullmatch(version) and not name.startswith(("$CI_SERVER_FQDN/$CI_PROJECT_PATH", "./")):
                yield Hit(place(entry), f"the component {name} is not pinned by commit")


def moving_job_images(picture: Picture) -> Iterator[Hit]:
    """A job with the credentials to push, sign or deploy runs whatever its image holds by then."""
    for workflow in picture.workflows:
        for name, job in workflow.jobs:
            image = job.at("image") if workflow.gitlab else job.at("container")
            node = image.at("name") if image.at("name") and workflow.gitlab else image.at("image") or image
            armed = any(_is_armed(step) for step in workflow.steps_of(name))
            if armed and node.text and "@sha256:" not in node.text and not node.text.startswith(("$", "${{")):
                yield Hit(place(node), f"the job {name} runs in {node.text}, which can be moved to other code")


def _is_armed(step: Step) -> bool:
    deploys = (("kubectl", "apply"), ("kubectl", "set"), ("helm", "upgrade"), ("helm", "install"), ("cosign", "sign"))
    return pushes(step) or any(command.runs(*words) for command in step.commands for words in deploys)


def injection(picture: Picture) -> Iterator[Hit]:
    """An expression is pasted into the script before the shell reads it: a title can be a command."""
    for workflow in picture.workflows:
        for step in workflow.steps:
            if workflow.gitlab:
                if any(_runs_as_script(command) for command in step.commands):
                    yield Hit(step.place, "text that an outsider can write is run as a script")
                continue
            found = _UNTRUSTED.search(step.script or step.given("script"))
            if found:
                chosen = "inputs." in found[0]
                who = "whoever starts the workflow" if chosen else "an outsider"
                where = place(step.node.at("run") or step.node.at("with", "script"))
                yield Hit(where, f"text that {who} can write is pasted into a script")


_OUTSIDE = re.compile(
    r"\$\{?CI_(COMMIT_(MESSAGE|TITLE|DESCRIPTION|BRANCH|REF_NAME|TAG|TAG_MESSAGE|AUTHOR)|"
    r"MERGE_REQUEST_(TITLE|DESCRIPTION|SOURCE_BRANCH_NAME|LABELS|MILESTONE|ASSIGNEES))\b"
)


def _runs_as_script(command: Command) -> bool:
    """Whether a GitLab variable that an outsider fills is read a second time, as a command."""
    again = command.program == "eval" or (command.program in ("sh", "bash", "ash", "dash") and "-c" in command.words)
    return again and any(_OUTSIDE.search(word) for word in command.words[1:])


def permissions(picture: Picture) -> Iterator[Hit]:
    """Without permissions the token may be able to write everything."""
    for workflow in picture.workflows:
        if workflow.gitlab:
            continue
        top = workflow.node.at("permissions")
        without = [name for name, job in workflow.jobs if job.at("permissions").kind == "absent"]
        if top.kind == "absent" and without:
            yield Hit(
                place(workflow.node.at("jobs")),
                f"the token of {', '.join(without)} has whatever permissions the organisation's default gives",
            )
        for node in [top, *(job.at("permissions") for _, job in workflow.jobs)]:
            if node.text == "write-all":
                yield Hit(place(node), "the token may write everything")


_LOGIN = re.compile(r"\b(login|configure-docker|get-login-password)\b|(\.docker|containers)/(config|auth)\.json")


def missing_credentials(picture: Picture) -> Iterator[Hit]:
    """A push without a login before it in the same job can never succeed."""
    for workflow in picture.workflows:
        given = (workflow.node, *(job for _, job in workflow.jobs))
        if any(holder.at("variables", "DOCKER_AUTH_CONFIG") for holder in given):
            continue
        logged: set[str] = set()
        for step in workflow.steps:
            words = " ".join(command.text for command in step.commands)
            if _LOGIN.search(words) or "login" in step.action:
                logged.add(step.job)
            if pushes(step) and step.job not in logged:
                yield Hit(step.place, "an image is pushed without a login in the same job")
                logged.add(step.job)


def powerless_gate(picture: Picture) -> Iterator[Hit]:
    """A gate whose failure is ignored, or that is never asked to fail, is decoration."""
    for workflow in picture.workflows:
        yield from _jobs_without_power(workflow)
        for step in workflow.steps:
            ignored = step.node.at("continue-on-error")
            if ignored.true and _scans(step):
                yield Hit(place(ignored), "the scan may fail without stopping anything")
                continue
            if (
                step.action == "aquasecurity/trivy-action"
                and step.given("exit-code") in ("", "0")
                and not _reads_result(workflow, step)
            ):
                yield Hit(step.place, "trivy reports and always succeeds: exit-code is not set")
            if step.action == "anchore/scan-action" and step.given("fail-build") == "false":
                yield Hit(step.place, "the scan reports and always succeeds: fail-build is false")
            for command in step.commands:
                reason = _toothless(command)
                if reason:
                    yield Hit(step.place, f"{command.program} {reason}")


def _jobs_without_power(workflow: Workflow) -> Iterator[Hit]:
    """Jobs with a scan that may fail, or that nobody has to start."""
    for name, job in workflow.jobs:
        if not any(_scans(step) for step in workflow.steps_of(name)):
            continue
        allowed = job.at("allow_failure") if workflow.gitlab else job.at("continue-on-error")
        if allowed.true or allowed.at("exit_codes"):
            yield Hit(place(allowed), f"the job {name} scans, and may fail without stopping anything")
        elif workflow.gitlab and job.at("when").text == "manual" and not allowed.false:
            yield Hit(place(job.at("when")), f"the job {name} scans, and the pipeline goes on without it")


def _scans(step: Step) -> bool:
    return step.action in IMAGE_SCAN_ACTIONS or any(command.program in _SCANNERS for command in step.commands)


def _toothless(command: Command) -> str | None:
    if command.program not in _SCANNERS or any(
        word in ("--version", "-V", "--download-db-only", "version") for word in command.words
    ):
        return None
    produces = command.has("cyclonedx", "spdx-json", "spdx") or command.option("--format", "-f") in (
        "cyclonedx",
        "spdx-json",
        "template",
        "cyclonedx-json",
    )
    if command.ignored:
        return "may fail without stopping anything"
    if (
        command.program == "trivy"
        and not produces
        and "convert" not in command.words[:2]
        and command.option("--exit-code") in (None, "0")
    ):
        return "reports and always succeeds: --exit-code is not set"
    if command.program == "grype" and not command.has("--fail-on", "-f") and not produces:
        return "reports and always succeeds: --fail-on is not set"
    return None


def _reads_result(workflow: Workflow, scan: Step) -> bool:
    """Whether the step only makes an SBOM or a report, beside a second scan of the same image that can fail."""
    if scan.given("format") in ("cyclonedx", "spdx-json", "github"):
        return True
    others = [
        s
        for s in workflow.steps
        if s is not scan and s.action == scan.action and s.given("image-ref") == scan.given("image-ref")
    ]
    return any(other.given("exit-code") not in ("", "0") for other in others)


def dropped_filter(picture: Picture) -> Iterator[Hit]:
    """SARIF output of trivy ignores the severity filter unless told: gate and report then disagree."""
    for workflow in picture.workflows:
        for step in workflow.steps:
            if (
                step.action == "aquasecurity/trivy-action"
                and step.given("format") == "sarif"
                and step.given("severity")
            ) and step.given("limit-severities-for-sarif") != "true":
                yield Hit(step.place, "the severity filter has no effect on SARIF output")


def skipped_audit(picture: Picture) -> Iterator[Hit]:
    """pip-audit passes over what it cannot look up and says that nothing was found, unless it is strict."""
    for workflow in picture.workflows:
        for step in workflow.steps:
            for command in step.commands:
                if command.program == "pip-audit" and not command.has("--strict", "-S", "--version"):
                    yield Hit(step.place, "pip-audit passes over packages that it could not look up")


def unchecked_tag(picture: Picture) -> Iterator[Hit]:
    """A tag pushed by hand becomes the version of a release that says another version of itself."""
    for workflow in picture.workflows:
        scripts = " ".join(step.script for step in workflow.steps)
        compares = re.search(
            r"(GITHUB_REF_NAME|github\.ref_name|TAG|VERSION)[^\n]*(==|!=|-eq|-ne|=)[^\n]*|bedside (verify|package)",
            scripts,
        )
        for step in workflow.steps:
            tags = step.given("tags") if "build-push" in step.action else " ".join(pushed_by(step))
            if re.search(r"github\.ref_name|GITHUB_REF_NAME|CI_COMMIT_TAG", tags) and pushes(step) and not compares:
                yield Hit(
                    step.place,
                    "a git tag becomes the image's version without being compared with the version in the code",
                )


def untrusted_checkout(picture: Picture) -> Iterator[Hit]:
    """pull_request_target runs with secrets; checking out the proposal gives them to its author."""
    for workflow in picture.workflows:
        for step in workflow.steps if workflow.triggered_by("pull_request_target") else ():
            if step.action == "actions/checkout" and re.search(
                r"head\.(sha|ref)|head_ref|refs/pull", step.given("ref")
            ):
                yield Hit(step.place, "an outsider's code is checked out where the secrets are")


def secrets_in_clear(picture: Picture) -> Iterator[Hit]:
    """A credential in a workflow file is in the repository and its history."""
    for workflow in picture.workflows:
        field = "variables" if workflow.gitlab else "env"
        places: list[Node] = [workflow.node.at(field), *(job.at(field) for _, job in workflow.jobs)]
        places += [step.node.at("env") for step in workflow.steps if not workflow.gitlab]
        for group in places:
            for key, held in group.pairs():
                node = held.at("value") if held.kind == "map" else held
                if SECRET_NAME.search(key) and "${{" not in node.text and is_value(node.text):
                    yield Hit(place(node), f"{key} stands in clear in the workflow")


def deploy_by_tag(picture: Picture) -> Iterator[Hit]:
    """A deploy by tag runs whatever the tag points at by then."""
    for workflow in picture.workflows:
        for step in workflow.steps:
            for command in step.commands:
                if _deploys_by_tag(command):
                    yield Hit(step.place, "the image is deployed by tag, not by the digest that was checked")


def _deploys_by_tag(command: Command) -> bool:
    by_digest = "@" in command.text or "digest" in command.text.lower()
    charted = command.program == "helm" and {"upgrade", "install"} & set(command.words[1:2])
    tagged = any(re.match(r"([\w.-]*\.)?(image\.)?tag=", word) for word in command.words) and bool(charted)
    edited = command.runs("kustomize", "edit", "set", "image")
    return (command.runs("kubectl", "set", "image") or edited or tagged) and not by_digest
