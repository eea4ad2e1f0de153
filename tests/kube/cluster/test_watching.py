"""A mirror of what the cluster holds, through everything that can happen to a watch."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.simulated_cluster.server import Cluster, Handler, running

from bedside.errors import ClusterDenied
from bedside.kube.cluster.access import Access
from bedside.kube.cluster.credentials import Wallet
from bedside.kube.cluster.kinds import KINDS
from bedside.kube.cluster.session import Session
from bedside.kube.cluster.watching import Observed, observing
from bedside.process import Subprocess

KIND = KINDS["ConfigMap"]
RESOURCE = "v1/configmaps"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running() as made:
        yield made


@pytest.fixture
def session(cluster: Cluster) -> Iterator[Session]:
    access = Access("ward", cluster.url)
    with Session(access, Wallet(access, Subprocess()), pause=lambda _: None) as made:
        yield made


def _put(cluster: Cluster, name: str, labels: dict[str, str] | None = None, **data: str) -> None:
    metadata = {"name": name, "namespace": "icu", "labels": labels or {"a": "b"}}
    with cluster.store.lock:
        there = cluster.store.get(RESOURCE, "icu", name)
        if there is not None:
            metadata = {**there["metadata"], **metadata}
        cluster.store.put(RESOURCE, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _until(observed: Observed, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = {item["metadata"]["name"]: item.get("data") for item in observed.items(KIND)}
        if wanted(found):
            return found
        observed.wait(0.2)
    raise AssertionError(found)


def _spent(left: list[int]) -> None:
    until = time.monotonic() + 30
    while left[0]:
        assert time.monotonic() < until
        time.sleep(0.05)


def _look_for_ever(observed: Observed) -> None:
    while True:
        observed.items(KIND)
        observed.wait(0.1)


def test_what_is_there_and_what_comes_changes_and_goes(cluster: Cluster, session: Session) -> None:
    _put(cluster, "one")
    with observing(session, "icu", [(KIND, {"a": "b"})]) as observed:
        _until(observed, lambda found: found == {"one": {}})
        _put(cluster, "two")
        _put(cluster, "other", {"a": "c"})
        _put(cluster, "one", x="y")
        _until(observed, lambda found: found == {"one": {"x": "y"}, "two": {}})
        cluster.store.delete(RESOURCE, "icu", "one")
        _until(observed, lambda found: found == {"two": {}})


def test_a_watch_that_the_server_ends_goes_on_where_it_stood(
    cluster: Cluster, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bedside.kube.cluster.requests.WATCH_SECONDS", 5)
    with observing(session, "icu", [(KIND, None)]) as observed:
        for number in range(10):
            _put(cluster, f"n{number}")
            _until(observed, lambda found, count=number + 1: len(found) == count)  # type: ignore[misc]
        until = time.monotonic() + 30
        while _asked(cluster, watching=True) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
        _put(cluster, "late")
        _until(observed, lambda found: "late" in found)
    assert _asked(cluster, watching=False) == 1, "it was listed once"


def _asked(cluster: Cluster, *, watching: bool) -> int:
    asked = [query for _, path, query in cluster.seen if path.endswith("/configmaps")]
    return sum(("watch=true" in query) is watching for query in asked)


def test_a_server_that_has_forgotten_is_listed_anew(cluster: Cluster, session: Session) -> None:
    with observing(session, "icu", [(KIND, None)]) as observed:
        for number in range(5):
            with cluster.store.lock:
                _put(cluster, f"n{number}")
                cluster.store.delete(RESOURCE, "icu", f"n{number - 1}")
                cluster.store.forget()
            _until(observed, lambda found, name=f"n{number}": list(found) == [name])  # type: ignore[misc]
    assert sum("watch=true" not in query for _, path, query in cluster.seen if path.endswith("/configmaps")) > 1


def test_a_gone_before_the_watch_begins_is_the_same(cluster: Cluster, session: Session) -> None:
    left = [3]

    def gone(handler: Handler) -> bool:
        if "watch" not in handler.query or not left[0]:
            return False
        left[0] -= 1
        handler.status(410, "Expired", "too old resource version")
        return True

    cluster.faults.trouble.append(gone)
    with observing(session, "icu", [(KIND, None)]) as observed:
        _spent(left)
        _put(cluster, "late")
        _until(observed, lambda found: found == {"late": {}})


def test_half_a_line_is_a_connection_that_broke(cluster: Cluster, session: Session) -> None:
    left = [2]

    def half(handler: Handler) -> bool:
        if "watch" not in handler.query or not left[0]:
            return False
        left[0] -= 1
        handler.send_response(200)
        handler.send_header("Content-Length", "30")
        handler.end_headers()
        handler.wfile.write(b'{"type": "ADDED", "object": {"\n')
        handler.close_connection = True
        return True

    cluster.faults.trouble.append(half)
    with observing(session, "icu", [(KIND, None)]) as observed:
        _spent(left)
        _put(cluster, "one")
        _until(observed, lambda found: found == {"one": {}})


def test_while_the_server_is_away_that_is_said_and_after_it_everything_is_there(
    cluster: Cluster, session: Session
) -> None:
    away = [False]
    cluster.faults.trouble.append(lambda handler: away[0] and (bool(handler.drop()) or True))
    with observing(session, "icu", [(KIND, None)]) as observed:
        _until(observed, lambda found: found == {})
        away[0] = True
        cluster.store.forget()
        until = time.monotonic() + 30
        while not observed.lost:
            assert time.monotonic() < until
            observed.wait(0.1)
        assert "dropped the connection" in observed.lost
        _put(cluster, "meanwhile")
        away[0] = False
        _until(observed, lambda found: found == {"meanwhile": {}})
        assert not observed.lost


def test_a_right_that_is_taken_away_ends_it_with_the_reason(cluster: Cluster, session: Session) -> None:
    cluster.faults.denied.add(("watch", "configmaps"))
    with observing(session, "icu", [(KIND, None)]) as observed, pytest.raises(ClusterDenied, match="may not watch"):
        _look_for_ever(observed)


def test_a_long_list_comes_in_pages(cluster: Cluster, session: Session) -> None:
    for number in range(5):
        _put(cluster, f"n{number}")

    def pages(handler: Handler) -> bool:
        if "limit" not in handler.query:
            return False
        items = sorted(cluster.store.all(RESOURCE, "icu"), key=lambda item: item["metadata"]["name"])
        start = int(handler.query.get("continue", 0))
        metadata = {"resourceVersion": str(cluster.store.version)}
        if start + 2 < len(items):
            metadata["continue"] = str(start + 2)
        handler.answer(200, json.loads(json.dumps({"metadata": metadata, "items": items[start : start + 2]})))
        return True

    cluster.faults.trouble.append(pages)
    with observing(session, "icu", [(KIND, None)]) as observed:
        _until(observed, lambda found: len(found) == 5)


def test_the_end_of_the_block_does_not_wait_for_the_watch(cluster: Cluster, session: Session) -> None:
    with observing(session, "icu", [(KIND, None)]) as observed:
        _until(observed, lambda found: found == {})
        threads = [mirror._thread for mirror in observed.mirrors.values()]
    assert not any(thread.is_alive() for thread in threads)
