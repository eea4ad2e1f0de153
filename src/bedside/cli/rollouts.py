"""What the verbs that work with a cluster have in common: their options, and how a rollout is shown."""

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from bedside.cli import console
from bedside.errors import UsageError
from bedside.kube.asking import Caller
from bedside.kube.cluster.access import ClientCertificate
from bedside.kube.cluster.session import show, trust
from bedside.kube.differences import Difference
from bedside.kube.records import Record
from bedside.kube.rollout.following import Progress
from bedside.kube.rollout.picture import Picture, Pod
from bedside.stages.rollouts import Choices, Proven, Watch

_F = TypeVar("_F", bound=Callable[..., Any])

CREDENTIAL: Final = "BEDSIDE_CREDENTIAL"
_COLUMNS: Final = ("pod", "node", "release", "state", "golden case")


@dataclass(frozen=True, slots=True)
class Reached:
    """The options that lead to a cluster."""

    kubeconfig: Path | None
    context: str | None


def cluster_options(function: _F) -> _F:
    """Add --kubeconfig and --context."""
    for option in (
        click.option("--context", help="Context of the kubeconfig; the current one where left out."),
        click.option("--kubeconfig", type=click.Path(path_type=Path), help="By default KUBECONFIG, or ~/.kube/config."),
    ):
        function = option(function)
    return function


def caller_options(function: _F) -> _F:
    """Add how the pods are asked. No credential is ever an argument: those are seen by everybody on a machine."""
    pem = click.Path(path_type=Path)
    for option in (
        click.option("--pod-ca", type=pem, help="PEM certificates that sign the pods' own, where they speak TLS."),
        click.option("--client-key", type=pem, help="Its key, PEM."),
        click.option("--client-cert", type=pem, help="Certificate to show to the pods, PEM."),
        click.option(
            "--credential-file",
            type=pem,
            help=f"File with the API key or token of a caller; or the variable {CREDENTIAL}.",
        ),
    ):
        function = option(function)
    return function


def caller(
    credential_file: Path | None, client_cert: Path | None, client_key: Path | None, pod_ca: Path | None
) -> Caller:
    """Return who asks the pods.

    Args:
        credential_file: Holds a key or token.
        client_cert: Certificate to show.
        client_key: Its key.
        pod_ca: Certificates that sign those of the pods.
    """
    token = _credential(credential_file)
    headers = (("Authorization", f"Bearer {token}"),) if token else ()
    if client_cert is None and client_key is None and pod_ca is None:
        return Caller(headers)
    return Caller(headers, _tls(client_cert, client_key, pod_ca))


def _credential(path: Path | None) -> str:
    if path is None:
        return os.environ.get(CREDENTIAL, "").strip()
    text = _bytes(path).decode("utf-8", "replace").strip()
    if not text or not text.isascii() or len(text.split()) != 1:
        raise UsageError(f"{path} holds no key or token", remedy="It must hold one line, the key or token alone.")
    return text


def _tls(client_cert: Path | None, client_key: Path | None, pod_ca: Path | None) -> ssl.SSLContext:
    if pod_ca is None:
        raise UsageError("a client certificate without --pod-ca would be shown to anybody", remedy="Name --pod-ca too.")
    context = trust(_bytes(pod_ca))
    if (client_cert is None) != (client_key is None):
        raise UsageError("--client-cert and --client-key belong together", remedy="Name both.")
    if client_cert is not None and client_key is not None:
        show(context, ClientCertificate(_bytes(client_cert), _bytes(client_key)))
    return context


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def choices(caller: Caller, take_over: bool, timeout: float | None) -> Choices:
    """Return how to roll out."""
    return Choices(caller, take_over, timeout)


@contextmanager
def watched() -> Iterator[Watch]:
    """Show how a rollout goes: a live table where somebody looks, else one line for each thing that changed."""
    with console.board() as board:
        lines = _Lines()

        def progress(progress: Progress) -> None:
            if not board.draw(_title(progress), _COLUMNS, [_row(pod, progress) for pod in progress.picture.pods]):
                lines.tell(progress)

        watch = Watch(
            step=board.note,
            warning=lambda text: board.note(f"warning: {text}"),
            note=board.note,
            difference=show_difference,
            progress=progress,
        )
        try:
            yield watch
        except KeyboardInterrupt:
            board.note("what was applied goes on in the cluster: run the command again to end it right, or roll back")
            raise


class _Lines:
    """Says each thing once."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def tell(self, progress: Progress) -> None:
        """Say what is otherwise than before."""
        self._say("", _title(progress))
        for pod in progress.picture.pods:
            proven = ", golden case answered" if pod.name in progress.proven else ""
            self._say(pod.name, f"{pod.name} on {pod.node or 'no node yet'}: {state(pod)}{proven}")

    def _say(self, key: str, text: str) -> None:
        if self._said.get(key) != text:
            self._said[key] = text
            console.note(f"  {text}")


def _title(progress: Progress) -> str:
    picture = progress.picture
    if progress.lost:
        return f"waiting: {progress.lost}"
    stalled = f"; {picture.stalled.text}" if picture.stalled else ""
    ready = sum(pod.ready for pod in picture.new)
    proven = len(progress.proven)
    return f"{ready} of {picture.wanted} new pods ready, {picture.available} for long enough, {proven} proven{stalled}"


def _row(pod: Pod, progress: Progress) -> tuple[str, ...]:
    proven = "answered" if pod.name in progress.proven else "not asked yet" if pod.new else ""
    return pod.name, pod.node, pod.version, state(pod), proven


def state(pod: Pod) -> str:
    """Return how a pod is, in words."""
    if pod.leaving:
        return "leaving"
    restarts = f" ({pod.restarts} restarts)" if pod.restarts else ""
    return (pod.cause.text if pod.cause else "ready") + restarts


def show_differences(differences: tuple[Difference, ...]) -> None:
    """Show what changes, to people."""
    for difference in differences:
        show_difference(difference)


def show_difference(difference: Difference) -> None:
    """Show what changes of one object."""
    if difference.is_empty:
        return
    sign = "+" if difference.is_new else "-" if difference.is_gone else "~"
    console.note(f"  {sign} {difference.title}")
    for change in difference.changes:
        console.note(f"      {change.path}: {_value(change.before)} -> {_value(change.after)}")


def _value(value: str | None) -> str:
    return "nothing" if value is None else value


def difference_documents(differences: tuple[Difference, ...]) -> list[dict[str, Any]]:
    """Return what changes, for programs."""
    return [
        {
            "object": item.title,
            "change": "create" if item.is_new else "delete" if item.is_gone else "update",
            "fields": [{"path": one.path, "before": one.before, "after": one.after} for one in item.changes],
        }
        for item in differences
        if not item.is_empty
    ]


def record_document(record: Record) -> dict[str, Any]:
    """Return a record, for programs; without its manifests and its cases."""
    return {
        "revision": record.revision,
        "version": record.version,
        "digest": record.digest,
        "image": record.image,
        "state": str(record.state),
        "time": record.time,
        "by": record.by,
        "why": record.why,
        "rolled_back": record.rolled_back,
    }


def pod_document(pod: Pod) -> dict[str, Any]:
    """Return a pod, for programs."""
    return {
        "name": pod.name,
        "node": pod.node,
        "version": pod.version,
        "release": pod.release,
        "image": pod.image,
        "ready": pod.ready,
        "restarts": pod.restarts,
        "leaving": pod.leaving,
        "reason": None if pod.cause is None else str(pod.cause.why),
        "text": None if pod.cause is None else pod.cause.text,
    }


def proven_document(proven: Proven) -> dict[str, Any]:
    """Return what was deployed, for programs."""
    return {
        "release": record_document(proven.record),
        "namespace": proven.record.namespace,
        "changes": difference_documents(proven.differences),
        "removed": [what.title for what in proven.removed],
        "pods": [pod_document(pod) for pod in proven.picture.new],
    }


def say_proven(proven: Proven) -> None:
    """Say what runs now, to people."""
    record, picture = proven.record, proven.picture
    console.done(
        f"{record.name} {record.version} (revision {record.revision}) runs in {record.namespace}: "
        f"{_count(picture)} ready, each answered a golden case as {record.digest[:19]}"
    )
    for what in proven.removed:
        console.note(f"  {what.title} was taken away: this release does not name it")


def _count(picture: Picture) -> str:
    return f"{len(picture.new)} pods" if len(picture.new) != 1 else "1 pod"
