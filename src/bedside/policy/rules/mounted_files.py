"""Files that the code reads by their full path, against what its pod mounts."""

import ast
import re
from collections.abc import Iterator

from bedside.policy.applications import Application, name_of, text_of
from bedside.policy.kubernetes import Container
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.rules.agreement import built
from bedside.policy.rules.contents import in_image
from bedside.policy.yamltree import Node

_SECRET = re.compile(r"(?i)/(?:[\w.-]*[_.-])?(secrets?|credentials?|tokens?)(?:[_.-][\w.-]*)?/")
"""A directory that is called after credentials."""

_ACCOUNT = "/var/run/secrets/kubernetes.io/"
_READS = ("read_text", "read_bytes", "open")
_ASKS = ("exists", "is_file", "isfile", "access")


def unmounted_reads(picture: Picture) -> Iterator[Hit]:
    """The code reads a credential where nothing mounts it: it fails at start, or at the first request that needs it."""
    for container, image in built(picture):
        volumes = list(_credentials(container))
        if not volumes or _injected(container):
            continue
        for app in picture.applications:
            for path, node in _read(app):
                named = _SECRET.search(path) is not None or path.rpartition("/")[2] in _files(picture, volumes)
                if named and not _mounted(container, path) and not in_image(image, path):
                    where = ", ".join(sorted({mount.at("mountPath").text for mount, _ in volumes}))
                    yield Hit(app.at(node), f"{path} is read, but {container.title} mounts its secrets at {where}")


def _credentials(container: Container) -> Iterator[tuple[Node, Node]]:
    """Mounts of Secrets, of projected volumes and of secret stores, each with its volume."""
    for volume in container.pod.spec.at("volumes").items():
        if any(volume.at(kind) for kind in ("secret", "projected", "csi")):
            for mount in container.node.at("volumeMounts").items():
                if mount.at("name").text == volume.at("name").text:
                    yield mount, volume


def _injected(container: Container) -> bool:
    """Whether an agent adds mounts that no file shows."""
    return any("inject" in key and "vault" in key for key, _ in container.pod.annotations.pairs())


def _mounted(container: Container, path: str) -> bool:
    mounts = (mount.at("mountPath").text.rstrip("/") for mount in container.node.at("volumeMounts").items())
    return path.startswith(_ACCOUNT) or any(mount and f"{path}/".startswith(f"{mount}/") for mount in mounts)


def _files(picture: Picture, volumes: list[tuple[Node, Node]]) -> set[str]:
    """Names of the files that Secrets are mounted as, where the tree says them."""
    found: set[str] = set()
    for _, volume in volumes:
        parts = [volume.at("secret"), *(one.at("secret") for one in volume.at("projected", "sources").items())]
        found |= {item.at("path").text for part in parts for item in part.at("items").items()}
        names = {part.at("secretName").text or part.at("name").text for part in parts}
        for item in picture.of("ExternalSecret"):
            if (item.spec.at("target", "name").text or item.name) in names:
                found |= {row.at("secretKey").text for row in item.spec.at("data").items()}
    return found - {""}


def _read(app: Application) -> Iterator[tuple[str, ast.expr]]:
    """Full paths that are opened or read, where nobody asks first whether they are there."""
    asked = {path for call in app.calls if name_of(call.func) in _ASKS for path in _paths(app, call)}
    caught = {id(node) for part in app.nodes if _catches(part) for node in ast.walk(part)}
    for call in app.calls:
        if name_of(call.func) in _READS and id(call) not in caught:
            yield from ((path, call) for path in _paths(app, call) if path not in asked)


def _catches(node: ast.AST) -> bool:
    """Whether it is a try that lives with a file that is not there."""
    handled = node.handlers if isinstance(node, ast.Try) else []
    caught = [item.type for item in handled]
    names = {name_of(one) for kind in caught if kind for one in ast.walk(kind) if isinstance(one, ast.expr)}
    return None in caught or bool(names & {"FileNotFoundError", "OSError", "IOError", "Exception"})


def _paths(app: Application, call: ast.Call) -> set[str]:
    """The path that a call is about: of ``open(path)``, ``path.read_text()``, ``Path(path).read_text()``."""
    about = call.func.value if isinstance(call.func, ast.Attribute) else None
    if about is None or name_of(about) in ("os", "path", "io"):
        about = call.args[0] if call.args else None
    return {path for path in _texts(app, about) if re.fullmatch(r"/[\w./-]+", path)}


def _texts(app: Application, node: ast.expr | None) -> set[str]:
    if isinstance(node, ast.Call) and name_of(node.func) in ("Path", "PurePath", "PosixPath") and len(node.args) == 1:
        return _texts(app, node.args[0])
    if isinstance(node, ast.Name):
        return app.constants.get(node.id, set())
    text = text_of(node)
    return {text} if text else set()
