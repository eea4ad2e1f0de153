"""What is kept in the cluster about each deploy."""

import base64
import gzip
import json
import random
from dataclasses import replace
from typing import Any

import pytest

from bedside.errors import GateRefused, UsageError
from bedside.kube import records
from bedside.kube.asking import Case, Expected
from bedside.kube.records import KEPT, Record, State
from bedside_runtime.contract import Band, Output

OUTPUT = Output(name="risk", type="probability", positive=1, bands=(Band(name="low", below=0.1), Band(name="high")))
EXPECTED = Expected(f"sha256:{'a' * 64}", OUTPUT, 1e-9, (Case("c1", {"age": 75, "name": "ä"}, 0.1),))
DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "icu", "namespace": "icu"}}


def _record(revision: int = 1, state: State = State.GOOD, **changes: Any) -> Record:
    made = Record(
        revision=revision,
        name="icu",
        namespace="icu",
        version=f"1.{revision}.0",
        image=f"registry.example.org/icu@sha256:{'b' * 64}",
        time="2026-11-25T00:00:00Z",
        by="deployer",
        objects=(DEPLOYMENT,),
        expected=EXPECTED,
        state=state,
    )
    return replace(made, **changes)


def test_a_record_comes_back_as_it_was() -> None:
    record = _record(why="because", state=State.FAILED, rolled_back=3)
    assert records.decode(records.encode(record)) == record


def test_the_same_record_has_the_same_bytes() -> None:
    assert records.encode(_record()) == records.encode(_record())


def test_what_became_of_it_is_outside_of_what_never_changes() -> None:
    secret = records.encode(_record(state=State.PENDING))
    assert secret["immutable"] is True
    patch = records.change(State.FAILED, "no room")["metadata"]
    for part in ("labels", "annotations"):
        secret["metadata"][part].update(patch[part])
    read = records.decode(secret)
    assert (read.state, read.why) == (State.FAILED, "no room")


def test_manifests_that_no_cluster_holds_are_refused() -> None:
    noise = random.Random(1).randbytes(1_500_000).hex()
    with pytest.raises(GateRefused, match="KiB compressed"):
        records.encode(_record(objects=({**DEPLOYMENT, "data": noise},)))


def test_as_many_cases_are_kept_as_there_is_room_for() -> None:
    large = tuple(Case(f"c{index}", {"pixels": "x" * 100_000}, 0.1) for index in range(5))
    assert len(records.keepable(replace(EXPECTED, cases=large)).cases) == 2
    huge = (Case("c", {"pixels": "x" * 1_000_000}, 0.1),)
    assert records.keepable(replace(EXPECTED, cases=huge)).cases == ()
    many = tuple(Case(f"c{index}", {"age": index}, 0.1) for index in range(500))
    assert len(records.keepable(replace(EXPECTED, cases=many)).cases) == 50


def _broken(change: Any) -> dict[str, Any]:
    secret = records.encode(_record())
    payload = json.loads(gzip.decompress(base64.b64decode(secret["data"]["record"])))
    change(payload)
    secret["data"]["record"] = base64.b64encode(gzip.compress(json.dumps(payload).encode())).decode()
    return secret


@pytest.mark.parametrize(
    "secret",
    [
        {**records.encode(_record()), "data": {}},
        {**records.encode(_record()), "data": {"record": "!"}},
        {**records.encode(_record()), "data": {"record": base64.b64encode(b"no gzip").decode()}},
        {**records.encode(_record()), "data": {"record": base64.b64encode(gzip.compress(b"{}")[:-9]).decode()}},
        {**records.encode(_record()), "data": {"record": base64.b64encode(gzip.compress(bytes(2**27))).decode()}},
        _broken(lambda payload: payload.update(format=2)),
        _broken(lambda payload: payload.pop("digest")),
        _broken(lambda payload: payload["expected"].update(output={"type": "guess"})),
        _broken(lambda payload: payload.update(objects=3)),
    ],
)
def test_what_is_no_record_is_said_with_the_way_on(secret: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="icu-release-1") as refused:
        records.decode(secret)
    assert "delete the Secret icu-release-1" in refused.value.remedy


def test_the_last_good_one_is_the_newest_that_was_proven() -> None:
    kept = [_record(1), _record(2), _record(3, State.FAILED), _record(4, State.PENDING)]
    assert records.last_good(kept) == kept[1]
    assert records.last_good(kept, before=2) == kept[0]
    assert records.last_good(kept[2:]) is None


def test_old_records_go_but_never_the_last_good_one() -> None:
    kept = [_record(1), *(_record(number, State.FAILED) for number in range(2, KEPT + 4))]
    gone = {record.revision for record in records.superfluous(kept)}
    assert gone == {2, 3}
    assert records.superfluous(kept[:KEPT]) == ()
