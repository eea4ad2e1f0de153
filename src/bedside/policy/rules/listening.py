"""Where the server listens, against where it is asked."""

import ast
from collections.abc import Iterator

from bedside.policy.applications import keyword, name_of
from bedside.policy.kubernetes import Container, KubeObject, place, selects
from bedside.policy.picture import Picture, together
from bedside.policy.place import Hit
from bedside.policy.rules.agreement import application_containers, built, listens_on, runs_application
from bedside.policy.yamltree import Node

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


def scraped_port(picture: Picture) -> Iterator[Hit]:
    """Metrics that the code serves on one port are not scraped on another: every alert is without data."""
    for container in application_containers(picture):
        served = _metrics_ports(picture, container) if runs_application(picture, container) else None
        for title, port in _scraped(picture, container) if served else ():
            number = container.ports.get(port.text)
            if served and number is not None and number not in served:
                said = " and ".join(str(one) for one in sorted(served))
                yield Hit(
                    place(port), f"{title} is scraped at port {number}, but the code serves its metrics on {said}"
                )


def _metrics_ports(picture: Picture, container: Container) -> frozenset[int] | None:
    """Ports on which the code serves metrics; ``None`` where that cannot be told."""
    calls = [call for app in picture.applications for call in app.calls]
    own = any(name_of(call.func) in _ON_THE_APPLICATION or _is_mounted(call) for call in calls)
    own = own or any("metrics" in route.path for app in picture.applications for route in app.routes)
    main = _main_port(picture, container)
    beside = [_given_port(call) for call in calls if name_of(call.func) in _BESIDE]
    if (own and main is None) or None in beside:
        return None
    return frozenset([*([main] if own else ()), *beside]) or None


_BESIDE = ("start_http_server", "start_wsgi_server")
"""Of prometheus_client: a server of its own, on the port that is given first."""

_ON_THE_APPLICATION = ("expose", "PrometheusMetrics", "GunicornPrometheusMetrics")
"""Of prometheus_fastapi_instrumentator and prometheus_flask_exporter: a route of the application."""


def _is_mounted(call: ast.Call) -> bool:
    return name_of(call.func) in ("make_asgi_app", "make_wsgi_app", "generate_latest")


def _given_port(call: ast.Call) -> int | None:
    value = call.args[0] if call.args else keyword(call, "port")
    return value.value if isinstance(value, ast.Constant) and type(value.value) is int else None


def _main_port(picture: Picture, container: Container) -> int | None:
    for one, image in built(picture):
        port = listens_on(one, image) if one is container else None
        if port is not None:
            return container.ports.get(port)
    numbers = set(container.ports.values())
    return numbers.pop() if len(numbers) == 1 else None


def _scraped(picture: Picture, container: Container) -> Iterator[tuple[str, Node]]:
    """Who scrapes which port of a container, by the name or number that the container gives it."""
    noted = container.pod.annotations
    if noted.at("prometheus.io/scrape").text == "true" and noted.at("prometheus.io/port"):
        yield f"the annotation of {container.pod.owner.title}", noted.at("prometheus.io/port")
    for item in picture.of("PodMonitor"):
        if container.pod in picture.taken(item, item.spec.at("selector")):
            named = (end.at("port") for end in item.spec.at("podMetricsEndpoints").items())
            yield from ((item.title, port) for port in named if port)
    for item in picture.of("ServiceMonitor"):
        for service in picture.of("Service"):
            taken = together(service, item) and selects(item.spec.at("selector"), service.labels)
            if taken and container.pod in picture.selected(service):
                yield from _through(item, service)


def _through(item: KubeObject, service: KubeObject) -> Iterator[tuple[str, Node]]:
    """Ports of pods that a monitor reaches by ports of a Service."""
    targets = {
        port.at("name").text: port.at("targetPort") or port.at("port") for port in service.spec.at("ports").items()
    }
    for end in item.spec.at("endpoints").items():
        target = end.at("targetPort") or targets.get(end.at("port").text)
        if target:
            yield item.title, target
