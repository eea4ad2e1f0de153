"""Every computed number, from what it is computed."""

from pathlib import Path

import pytest
from tests.kube import projects

from bedside.errors import UsageError
from bedside.kube.plan import LONGEST_NAME, Plan
from bedside.kube.tree import objects
from bedside.stages.manifests import plans
from bedside_runtime.contract import Serve


def _plan(tmp_path: Path, deploy: str = projects.GATEWAY, **changes: object) -> Plan:
    return plans(projects.make(tmp_path, deploy, **changes), projects.IMAGE)[0]  # type: ignore[arg-type]


def test_a_slow_node_may_take_ten_times_the_measured_load(tmp_path: Path) -> None:
    plan = _plan(tmp_path)  # 4 s measured
    assert plan.startup_failures * plan.startup_period == 70
    assert "4.0 s" in plan.startup_failures.why


def test_a_pod_with_less_than_a_core_loads_slower_by_as_much(tmp_path: Path) -> None:
    settings = projects.NOTHING + '\n[deploy.resources]\ncpu = "250m"\n'
    plan = _plan(tmp_path, settings)  # 4 s measured
    assert plan.startup_failures * plan.startup_period == 190
    assert "on 250m of a core" in plan.startup_failures.why


def test_the_grace_period_holds_everything_that_stopping_does(tmp_path: Path) -> None:
    plan = _plan(tmp_path, serve=Serve(drain_seconds=7.5, shutdown_seconds=40))
    assert plan.grace == plan.pre_stop + 8 + 40 + 5
    assert plan.grace.why == "preStop 5 + drain 8 + in-flight requests 40 + closing the audit log 5"


def test_a_new_pod_must_outlive_a_self_check_and_a_probe(tmp_path: Path) -> None:
    assert _plan(tmp_path, serve=Serve(self_check_seconds=20)).min_ready_seconds == 25


def test_a_rollout_is_given_the_time_that_it_needs(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    assert plan.progress_deadline == 300 + 70 + plan.min_ready_seconds
    assert plan.progress_deadline > plan.min_ready_seconds


def test_memory_holds_the_model_and_every_request_in_flight(tmp_path: Path) -> None:
    plan = _plan(tmp_path, serve=Serve(max_in_flight=100, max_body=2**20))
    assert plan.memory == "448Mi"  # 1.5 * 200 + 100, up to a step of 64


@pytest.mark.parametrize(("cpu", "threads"), [("500m", "1"), ("1", "1"), ("2500m", "2"), ("4", "4")])
def test_threads_are_whole_cores_of_the_limit(tmp_path: Path, cpu: str, threads: str) -> None:
    deploy = projects.GATEWAY + f'\n[deploy.resources]\ncpu = "{cpu}"\n'
    assert _plan(tmp_path, deploy).threads == threads


def test_a_name_that_a_pod_s_host_name_could_not_hold_is_refused(tmp_path: Path) -> None:
    assert objects(_plan(tmp_path / "fits", name="a" * LONGEST_NAME))
    with pytest.raises(UsageError, match="host names"):
        objects(_plan(tmp_path / "long", name="a" * (LONGEST_NAME + 1)))
