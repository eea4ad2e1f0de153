"""`bedside status`."""

from pathlib import Path
from typing import Any

import click

from bedside.cli import console, rollouts
from bedside.kube.records import Record
from bedside.stages.status import Status, status
from bedside.wiring import clusters


@click.command
@click.argument("name")
@click.option("-n", "--namespace", help="By default the model's name.")
@rollouts.cluster_options
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(name: str, namespace: str | None, kubeconfig: Path | None, context: str | None, as_json: bool) -> None:
    """Show the model NAME in a cluster: releases, pods with their reasons, autoscaler, what differs from the release.

    Changes nothing. Exit code 0 where the last good release runs alone, ready and as it was deployed; 1 elsewhere.
    """
    with clusters.cluster(kubeconfig=kubeconfig, context=context, on_wait=console.note) as cluster:
        found = status(cluster.session, name, namespace or name)
    _show(found)
    if as_json:
        console.result(_document(found))
    else:
        console.line("well" if found.is_well else "not well")
    if not found.is_well:
        raise click.exceptions.Exit(1)


def _show(found: Status) -> None:
    console.table(
        "releases", ("revision", "version", "digest", "state", "deployed", "by"), [*map(_record, found.records)]
    )
    for record in found.records:
        if record.why:
            console.note(f"revision {record.revision} failed: {record.why}")
    picture = found.picture
    rows = [(pod.name, pod.node, pod.version, pod.release[:19], rollouts.state(pod)) for pod in picture.pods]
    console.table("pods", ("pod", "node", "version", "release", "state"), rows)
    if picture.stalled is not None:
        console.note(f"{picture.stalled.text}. {picture.stalled.remedy}")
    if (scaling := found.scaling) is not None:
        trouble = f"; {scaling.trouble}" if scaling.trouble else ""
        bounds = f"{scaling.least} to {scaling.most}"
        console.note(f"autoscaler: {bounds} pods, {scaling.current} now, {scaling.desired} wanted{trouble}")
    if found.holder:
        console.note(f"{found.holder} holds the lock on deployments")
    if found.drift is None:
        console.note(f"drift: not looked at, {found.unseen}")
    elif not found.drift:
        console.done("nothing differs from the last good release")
    else:
        console.note("differs from the last good release; what deploying it again would change:")
        rollouts.show_differences(found.drift)


def _record(record: Record) -> tuple[str, ...]:
    back = f" (back to revision {record.rolled_back})" if record.rolled_back else ""
    return str(record.revision), record.version + back, record.digest[:19], str(record.state), record.time, record.by


def _document(found: Status) -> dict[str, Any]:
    scaling = found.scaling
    return {
        "name": found.name,
        "namespace": found.namespace,
        "well": found.is_well,
        "release": None if found.good is None else found.good.digest,
        "releases": [rollouts.record_document(item) for item in found.records],
        "pods": [rollouts.pod_document(item) for item in found.picture.pods],
        "wanted": found.picture.wanted,
        "available": found.picture.available,
        "stalled": None if found.picture.stalled is None else found.picture.stalled.text,
        "autoscaler": None
        if scaling is None
        else {
            "min": scaling.least,
            "max": scaling.most,
            "current": scaling.current,
            "desired": scaling.desired,
            "trouble": scaling.trouble,
        },
        "drift": None if found.drift is None else rollouts.difference_documents(found.drift),
        "deploying": found.holder,
    }
