"""What a person is shown of a change."""

from typing import Any

import pytest

from bedside.kube.differences import Change, compare

TWICE = {"name": "a"}


def _object(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "icu", "resourceVersion": str(hash(str(spec))), "managedFields": [spec], "uid": str(spec)}
    return {"kind": "Deployment", "metadata": metadata, "spec": spec, "status": {"replicas": len(str(spec))}}


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [Change("spec.a", "1", "2")]),
        ({"a": 1}, {}, [Change("spec.a", "1", None)]),
        ({}, {"a": {"b": 1}}, [Change("spec.a", None, "{'b': 1}")]),
        ({"x/y": "1"}, {"x/y": "2"}, [Change("spec[x/y]", "1", "2")]),
        (
            {"containers": [{"name": "model", "image": "a"}, {"name": "proxy"}]},
            {"containers": [{"name": "proxy"}, {"name": "model", "image": "b"}]},
            [Change("spec.containers[model].image", "a", "b")],
        ),
        (
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "B", "value": "1"}]},
            [
                Change("spec.env[A]", "{'name': 'A', 'value': '1'}", None),
                Change("spec.env[B]", None, "{'name': 'B', 'value': '1'}"),
            ],
        ),
        ({"args": ["a"]}, {"args": ["b"]}, [Change("spec.args", "['a']", "['b']")]),
        (
            {"ports": [{"name": "a"}, {"name": "a"}]},
            {"ports": []},
            [Change("spec.ports", "[{'name': 'a'}, {'name': 'a'}]", "[]")],
        ),
    ],
)
def test_each_field_that_differs_is_named_once(before: Any, after: Any, changes: list[Change]) -> None:
    assert list(compare("Deployment icu", _object(**before), _object(**after)).changes) == changes


def test_what_is_not_there_yet_is_new() -> None:
    difference = compare("Deployment icu", None, _object(a=1))
    assert difference.is_new
    assert not difference.is_empty


def test_a_dashboard_does_not_fill_the_screen() -> None:
    (change,) = compare("ConfigMap d", _object(a="x" * 10_000), _object(a="y")).changes
    assert change.before is not None
    assert len(change.before) < 250
