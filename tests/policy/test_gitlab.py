"""GitLab's pipelines as GitLab expands them."""

from bedside.policy import gitlab, yamltree
from bedside.policy.workflows import Workflow


def _pipeline(**files: str) -> Workflow:
    named = {(".gitlab-ci.yml" if path == "main" else f"ci/{path}.yml"): text for path, text in files.items()}
    expanded = gitlab.expanded(
        ".gitlab-ci.yml", {path: yamltree.load(text, path).nodes for path, text in named.items()}
    )
    assert expanded is not None
    return Workflow(".gitlab-ci.yml", expanded, gitlab=True)


def _scripts(workflow: Workflow) -> dict[str, list[str]]:
    return {name: [step.script for step in workflow.steps_of(name)] for name, _ in workflow.jobs}


def test_a_job_takes_what_it_extends_and_keeps_what_it_says_itself() -> None:
    text = """
.base: {before_script: [login], script: [one], variables: {A: "1", B: "2"}}
.more: {extends: .base, script: [two]}
job: {extends: [.base, .more], variables: {B: "3"}}
"""
    workflow = _pipeline(main=text)
    assert _scripts(workflow) == {"job": ["login", "two"]}
    assert dict(workflow.jobs)["job"].at("variables").strings() == {"A": "1", "B": "3"}


def test_references_anchors_and_lists_in_lists_become_lines() -> None:
    text = """
.login: {script: [a, b]}
.lines: &lines [x, y]
job:
  script:
    - !reference [.login, script]
    - *lines
    - last
"""
    assert _scripts(_pipeline(main=text)) == {"job": ["a", "b", "x", "y", "last"]}


def test_defaults_reach_every_job_that_does_not_refuse_them() -> None:
    text = """
default: {before_script: [hello], image: python:3.11}
one: {script: [a]}
two: {script: [b], before_script: []}
three: {script: [c], inherit: {default: false}}
"""
    workflow = _pipeline(main=text)
    assert _scripts(workflow) == {"one": ["hello", "a"], "two": ["b"], "three": ["c"]}
    assert [job.at("image").text for _, job in workflow.jobs] == ["python:3.11", "python:3.11", ""]


def test_local_includes_are_merged_below_what_the_file_says_itself() -> None:
    workflow = _pipeline(
        main="include: [ci/a.yml, {local: /ci/b.yml}]\njob: {script: [mine]}\n",
        a="job: {script: [theirs], stage: build}\nother: {script: [x]}\n",
        b="include: {local: ci/a.yml}\nother: {script: [y]}\n",
    )
    assert _scripts(workflow) == {"job": ["mine"], "other": ["y"]}
    job = dict(workflow.jobs)["job"]
    assert (job.at("stage").text, job.at("stage").file) == ("build", "ci/a.yml")


def test_a_header_with_inputs_is_no_pipeline() -> None:
    assert _scripts(_pipeline(main="spec: {inputs: {a: {}}}\n---\njob: {script: [a]}\n")) == {"job": ["a"]}


def test_what_leads_to_itself_ends() -> None:
    text = """
include: .gitlab-ci.yml
.a: {extends: .b, script: [!reference [.a, script]]}
.b: {extends: .a}
job: {extends: .a, script: [!reference [job, script]]}
"""
    assert "job" in _scripts(_pipeline(main=text))


def test_hidden_jobs_and_keywords_are_no_jobs() -> None:
    assert _pipeline(main="stages: [a]\nvariables: {A: b}\n.x: {script: [a]}\nworkflow: {}\n").jobs == ()
