"""What one release names and the next does not: taken away when the next is proven, brought back when it is not."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.deploying.world import NAMESPACE, World
from tests.simulated_cluster.server import running

from bedside.kube import records

CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "icu-test-dashboard",
        "namespace": NAMESPACE,
        "labels": {"app.kubernetes.io/managed-by": "bedside"},
    },
    "data": {"a": "b"},
}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {**CONFIG["metadata"], "name": "icu-test-audit"},  # type: ignore[dict-item]
    "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running() as cluster:
        yield World(cluster, tmp_path)


def _with(world: World, version: str, *more: dict[str, Any]) -> None:
    order = world.order(version)
    world.orders[version] = replace(order, objects=(*order.objects, *more))


def test_what_the_proven_release_does_not_name_goes_but_never_a_claim(world: World) -> None:
    _with(world, "1.0.0", CLAIM, CONFIG)
    world.runs("1.0.0")
    world.deploy("1.1.0")
    world.ends_well()
    assert world.done is not None
    assert [what.title for what in world.done.removed] == ["ConfigMap icu-test-dashboard"]
    assert world.cluster.get("ConfigMap", "icu-test-dashboard") is None
    assert world.cluster.get("PersistentVolumeClaim", "icu-test-audit") is not None


def test_what_only_the_failed_release_named_goes_and_what_it_left_out_is_still_there(world: World) -> None:
    _with(world, "1.0.0", CONFIG)
    world.runs("1.0.0")
    other = {**CONFIG, "metadata": {**CONFIG["metadata"], "name": "icu-test-other"}}  # type: ignore[dict-item]
    _with(world, "1.1.0", other, CLAIM)
    world.pods("1.1.0", "answers otherwise")
    world.deploy("1.1.0")
    world.ends_with("3")
    assert world.cluster.get("ConfigMap", "icu-test-dashboard") is not None
    assert world.cluster.get("ConfigMap", "icu-test-other") is None
    assert world.cluster.get("PersistentVolumeClaim", "icu-test-audit") is not None, (
        "the audit log is a person's decision"
    )


def test_what_somebody_else_made_under_that_name_since_is_left_alone(world: World) -> None:
    _with(world, "1.0.0", CONFIG)
    world.runs("1.0.0")
    there = world.cluster.get("ConfigMap", "icu-test-dashboard")
    assert there is not None
    there["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "helm"}
    world.cluster.store.put("v1/configmaps", there)
    world.deploy("1.1.0")
    world.ends_well()
    assert world.cluster.get("ConfigMap", "icu-test-dashboard") is not None


def test_a_field_that_somebody_took_meanwhile_does_not_keep_the_last_good_release_from_coming_back(
    world: World,
) -> None:
    world.runs("1.0.0")
    world.pods("1.1.0", "never gets ready")

    def meddle(handler: Any) -> None:
        if handler.command == "PATCH" and "deployments" in handler.path and "dryRun" not in handler.path:
            world.cluster.faults.after.clear()
            path = ("spec", "template", "metadata", "labels", "model-version")
            owners = world.cluster.store.owners["apps/v1/deployments", NAMESPACE, "icu-test"]
            owners["bedside"].discard(path)
            owners["kubectl"] = {path}

    world.cluster.faults.after.append(meddle)
    world.deploy("1.1.0")
    world.ends_with("4")
    world.agrees("1.0.0")


def test_a_record_holds_no_key_and_no_credential(world: World) -> None:
    world.credential()
    world.show_credential()
    world.runs("1.0.0")
    secret = world.cluster.get("Secret", records.secret_name("icu-test", 1))
    assert secret is not None
    record = records.decode(secret)
    assert "a caller's own key" not in repr(record) + json.dumps(secret)
    assert base64.b64encode(b"a caller's own key").decode() not in json.dumps(secret)
