"""Where the server listens, against where it is asked."""

from collections.abc import Iterator

from bedside.policy.kubernetes import place
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.rules.agreement import built, listens_on

_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def listening_port(picture: Picture) -> Iterator[Hit]:
    """The port that the image's command listens on is the port that the pod declares."""
    for container, image in built(picture):
        port = listens_on(container, image)
        if port is not None and container.ports and port not in container.ports:
            where = place(container.node.at("ports"))
            yield Hit(where, f"{container.title} declares no port {port}, where the command of {image.path} listens")


def listening_address(picture: Picture) -> Iterator[Hit]:
    """A server on loopback answers inside its container and nowhere else: no probe and no Service reaches it."""
    for container, image in built(picture):
        command = None if container.node.at("command") or container.node.at("args") else image.start_command()
        if command is None or not command.has("uvicorn", "hypercorn", "gunicorn", "flask", "fastapi"):
            continue
        given = {name for item in image.final_instructions("ENV") for name, _ in item.pairs()}
        host = command.option("--host", "-h") or (command.option("--bind", "-b") or "").rpartition(":")[0]
        settled = command.has("--uds", "--fd", "--config", "-c") or "UVICORN_HOST" in {*given, *container.environment}
        usual = command.has("uvicorn") and not settled and not container.node.at("envFrom")
        if host in _LOOPBACK or (not host and usual):
            said = host or "127.0.0.1, as uvicorn does where no --host is given"
            yield Hit(image.start[-1].place, f"the server listens on {said}: nothing outside the container reaches it")
