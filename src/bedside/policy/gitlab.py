"""A GitLab pipeline as GitLab expands it: local includes, `extends`, `!reference` and defaults written in.

Source: docs.gitlab.com/ci/yaml. What comes from elsewhere (remote and project includes, components, templates) is
not followed; jobs that extend it are left as they are.
"""

import posixpath
from collections.abc import Iterator, Mapping

from bedside.policy.yamltree import Node

KEYWORDS = frozenset(
    (
        *("stages", "variables", "default", "include", "workflow", "spec", "image", "services", "cache"),
        *("before_script", "after_script"),
    )
)
"""Keys at the top that are no jobs."""

STAGES = (".pre", "build", "test", "deploy", ".post")
SCRIPTS = ("before_script", "script", "after_script")
_INHERITED = ("image", "services", "before_script", "after_script", "id_tokens", "interruptible", "retry", "tags")
_DEEPEST = 11
"""How many times `extends` may lead on; GitLab's own limit."""


def is_pipeline(path: str) -> bool:
    """Whether a file is a pipeline by its name, or a part of one by where it lies."""
    name = path.rpartition("/")[2]
    return name.endswith((".gitlab-ci.yml", ".gitlab-ci.yaml")) or "/.gitlab/ci/" in f"/{path}"


def is_whole(path: str) -> bool:
    """Whether GitLab starts with this file."""
    return path.rpartition("/")[2] in (".gitlab-ci.yml", ".gitlab-ci.yaml")


def expanded(path: str, parts: Mapping[str, tuple[Node, ...]]) -> Node | None:
    """The pipeline that begins in ``path``, as one map; ``None`` where the file holds none.

    Args:
        path: A ``.gitlab-ci.yml``.
        parts: The documents of this file and of those that it may include, by path.
    """
    root = posixpath.dirname(path)
    merged = _with_includes(path, root, parts, ())
    if merged is None:
        return None
    jobs = dict(merged.pairs())
    for name, job in merged.pairs():
        if job.kind == "map" and name not in KEYWORDS:
            whole = _referenced(_inheriting(_extended(job, jobs, 0), merged), jobs)
            merged = merged.put(name, whole)
    return merged


def _with_includes(path: str, root: str, parts: Mapping[str, tuple[Node, ...]], above: tuple[str, ...]) -> Node | None:
    own = [node for node in parts.get(path, ()) if node.kind == "map" and not _is_header(node)]
    if not own or path in above or len(above) > _DEEPEST:
        return None
    merged: Node | None = None
    for _, below in local_includes(own[-1], posixpath.join(root, "x")):
        included = _with_includes(below, root, parts, (*above, path))
        if included is not None:
            merged = included if merged is None else _over(merged, included)
    return own[-1] if merged is None else _over(merged, own[-1])


def local_includes(pipeline: Node, path: str) -> Iterator[tuple[Node, str]]:
    """Entries of `include` that name files of the repository, each with its path."""
    root = posixpath.dirname(path)
    for entry in _entries(pipeline.at("include")):
        local = entry.at("local").text or (entry.text if "://" not in entry.text else "")
        if local:
            yield entry, posixpath.join(root, local.lstrip("/"))


def takes_from_elsewhere(pipeline: Node) -> bool:
    """Whether parts come from other projects, addresses, components or GitLab's templates."""
    keys = ("remote", "project", "component", "template")
    return any(any(entry.at(key) for key in keys) or "://" in entry.text for entry in _entries(pipeline.at("include")))


def _is_header(node: Node) -> bool:
    """Whether a document only declares inputs."""
    return [key for key, _ in node.pairs()] == ["spec"]


def _entries(node: Node) -> tuple[Node, ...]:
    return node.items() if node.kind == "list" else (node,) if node else ()


def _over(base: Node, above: Node) -> Node:
    """Maps merged key by key, all else replaced: as includes and `extends` do."""
    if base.kind != "map" or above.kind != "map":
        return above
    for key, child in above.pairs():
        before = base.at(key)
        base = base.put(key, _over(before, child) if before.kind == "map" else child)
    return base._replace(file=above.file, line=above.line, end=above.end)


def _extended(job: Node, jobs: Mapping[str, Node], depth: int) -> Node:
    base: Node | None = None
    for entry in _entries(job.at("extends")) if depth < _DEEPEST else ():
        parent = jobs.get(entry.text)
        if parent is not None and parent.kind == "map":
            parent = _extended(parent, jobs, depth + 1)
            base = parent if base is None else _over(base, parent)
    return job if base is None else _over(base, job)


def _inheriting(job: Node, pipeline: Node) -> Node:
    """The job with what `default` and the old keys at the top give to every job that says nothing else."""
    if job.at("inherit", "default").false or job.at("trigger"):
        return job
    for key in _INHERITED:
        given = pipeline.at("default", key) if pipeline.at("default", key).kind != "absent" else pipeline.at(key)
        if job.at(key).kind == "absent" and given.kind != "absent":
            job = job.put(key, given)
    return job


def _referenced(job: Node, jobs: Mapping[str, Node]) -> Node:
    for key in SCRIPTS:
        lines = tuple(_lines(job.at(key), jobs, 0))
        if job.at(key).kind == "list":
            job = job.put(key, job.at(key).listing(lines))
    return job


def _lines(script: Node, jobs: Mapping[str, Node], depth: int) -> Iterator[Node]:
    """The lines of a script; lists inside are other lists by anchor, or by `!reference [job, key]`."""
    for item in _entries(script):
        if item.kind != "list" or depth >= _DEEPEST:
            yield item
            continue
        words = [word.text for word in item.items()]
        holder = jobs.get(words[0]) if len(words) > 1 else None
        target = item if holder is None else holder.at(*words[1:])
        if target.kind == "absent" or (holder is None and words and words[0].startswith(".")):
            yield item  # a reference to what is not there: left, to be found
        else:
            yield from _lines(target, jobs, depth + 1)
