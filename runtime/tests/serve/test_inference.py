"""The Open Inference Protocol v2, over HTTP."""

import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import EXPECTED, PATIENT, Served, serving

INFER = "/v2/models/icu-test/infer"
TYPES = {"age": "INT64", "temperature": "FP64", "lactate": "FP64", "admission": "BYTES", "ventilated": "BOOL"}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as running:
        yield running


def tensors(**changes: dict[str, Any] | None) -> list[dict[str, Any]]:
    made = {
        name: {"name": name, "shape": [1], "datatype": kind, "data": [PATIENT[name]]} for name, kind in TYPES.items()
    }
    for name, change in changes.items():
        if change is None:
            del made[name]
        else:
            made[name] = made[name] | change
    return list(made.values())


def infer(served: Served, inputs: Any, path: str = INFER, **more: Any) -> tuple[int, Any]:
    return served.post({"inputs": inputs, **more}, path)


def value(answer: Any) -> Any:
    return answer["outputs"][0]["data"][0]


def test_the_answer_is_the_one_of_predict(served: Served) -> None:
    status, answer = infer(served, tensors(), id="call-1")
    assert status == 200
    assert answer == {
        "model_name": "icu-test",
        "model_version": "1.2.3",
        "id": "call-1",
        "parameters": {"release_digest": "sha256:" + "d" * 64},
        "outputs": [
            {"name": "mortality", "datatype": "FP64", "shape": [1, 1], "data": [EXPECTED]},
            {"name": "mortality_band", "datatype": "BYTES", "shape": [1, 1], "data": ["low"]},
        ],
    }


def test_a_named_version_must_be_the_one_that_is_served(served: Served) -> None:
    assert infer(served, tensors(), "/v2/models/icu-test/versions/1.2.3/infer")[0] == 200
    for path in ("/v2/models/icu-test/versions/9/infer", "/v2/models/other/infer"):
        status, problem = infer(served, tensors(), path)
        assert (status, problem["code"]) == (404, "unknown-model")
        assert problem["error"] == problem["title"]


def test_metadata_and_health_are_where_clients_look(served: Served) -> None:
    assert served.get("/v2")[1]["extensions"] == ["binary_tensor_data"]
    assert served.get("/v2/health/live") == (200, {"status": "live", "reason": "live", "live": True})
    assert served.get("/v2/health/ready")[1]["ready"] is True
    assert served.get("/v2/models/icu-test/ready")[0] == 200
    model = served.get("/v2/models/icu-test")[1]
    assert {item["name"]: item["datatype"] for item in model["inputs"]} == TYPES


@pytest.mark.parametrize(
    "change",
    [
        {"age": {"shape": [1, 1], "data": [[63]]}},
        {"age": {"datatype": "UINT8"}},
        {"temperature": {"datatype": "FP32"}},
        {"temperature": {"data": [98.96], "parameters": {"unit": "[degF]"}}},
    ],
)
def test_forms_that_say_the_same_are_answered_the_same(served: Served, change: dict[str, Any]) -> None:
    assert value(infer(served, tensors(**change))[1]) == EXPECTED


NUMBERS = ["FP64", "FP32", "FP16", *(f"{sign}INT{size}" for sign in ("", "U") for size in (8, 16, 32, 64))]
ACCEPTED = {
    "temperature": NUMBERS,
    "age": [kind for kind in NUMBERS if "INT" in kind],
    "admission": ["BYTES"],
    "ventilated": ["BOOL"],
}


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.parametrize("kind", [*NUMBERS, "BYTES", "BOOL", "FP128", "", None, 5, ["FP64"], {"a": 1}])
def test_each_type_of_input_takes_its_datatypes_and_no_other(served: Served, name: str, kind: Any) -> None:
    status, answer = infer(served, tensors(**{name: {"datatype": kind}}))
    if kind in ACCEPTED[name]:
        assert (status, value(answer)) == (200, EXPECTED)
    else:
        assert (status, answer["code"]) == (422, "invalid-tensors")


def test_without_an_id_the_answer_carries_that_of_the_request(served: Served) -> None:
    _, answer = served.post({"inputs": tensors()}, INFER, **{"x-request-id": "r-9"})
    assert answer["id"] == "r-9"


@pytest.mark.parametrize("change", [{"lactate": None}, {"lactate": {"data": [None]}}])
def test_a_value_that_may_be_missing_is_an_absent_tensor_or_null(served: Served, change: dict[str, Any]) -> None:
    _, plain = served.post({"inputs": PATIENT | {"lactate": None}})
    assert value(infer(served, tensors(**change))[1]) == plain["predictions"][0]["value"]


def test_several_rows_are_answered_in_order(served: Served) -> None:
    rows = [tensor | {"shape": [2], "data": tensor["data"] * 2} for tensor in tensors()]
    rows[0] = rows[0] | {"data": [63, 20]}
    answer = infer(served, rows)[1]
    young = served.post({"inputs": PATIENT | {"age": 20}})[1]["predictions"][0]["value"]
    assert answer["outputs"][0]["data"] == [EXPECTED, young]


def test_only_the_outputs_asked_for_come_back(served: Served) -> None:
    answer = infer(served, tensors(), outputs=[{"name": "mortality_band"}])[1]
    assert [output["name"] for output in answer["outputs"]] == ["mortality_band"]


MATRIX = [{"name": "input-0", "shape": [1, 5], "datatype": "FP64", "data": [63, 37.2, 1.1, 0, 0]}]


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        (MATRIX, "invalid-tensors"),
        (tensors(age={"shape": [1, 2], "data": [63, 64]}), "invalid-tensors"),
        (tensors(age={"shape": [2]}), "invalid-tensors"),
        (tensors(age={"shape": [-1]}), "invalid-tensors"),
        (tensors(age={"shape": "1"}), "invalid-tensors"),
        (tensors(age={"data": [[63, 63]]}), "invalid-tensors"),
        (tensors(age={"data": [[[63]]]}), "invalid-tensors"),
        (tensors(age={"datatype": "FP64"}), "invalid-tensors"),
        (tensors(age={"datatype": "canary"}), "invalid-tensors"),
        (tensors(age={"data": "63"}), "invalid-tensors"),
        (tensors(age={"canary": 1}), "invalid-tensors"),
        (tensors(age={"name": "canary"}), "invalid-tensors"),
        (tensors(age={"parameters": []}), "invalid-tensors"),
        (tensors(age={"parameters": {"binary_data_size": 8}}), "invalid-tensors"),
        ([*tensors(), tensors()[0]], "invalid-tensors"),
        ([], "invalid-tensors"),
        (None, "invalid-tensors"),
        (["canary"], "invalid-tensors"),
        (tensors(age=None), "invalid-inputs"),
        (tensors(age={"data": ["canary"]}), "invalid-inputs"),
        (tensors(admission={"data": ["canary"]}), "invalid-inputs"),
        (tensors(temperature={"parameters": {"unit": "canary"}}), "invalid-inputs"),
        (tensors(age={"shape": [1001], "data": [63] * 1001}), "too-many-instances"),
    ],
)
def test_tensors_that_are_not_this_model_s_are_refused_and_never_quoted(served: Served, inputs: Any, code: str) -> None:
    status, problem = infer(served, inputs)
    assert (status, problem["code"]) == (422, code)
    assert "canary" not in json.dumps(problem)


@pytest.mark.parametrize(
    "more",
    [
        {"outputs": [{"name": "canary"}]},
        {"outputs": [{"name": ["mortality"]}]},
        {"outputs": [{"name": "mortality"}, {"name": "mortality"}]},
        {"outputs": ["mortality"]},
        {"outputs": [{"name": "mortality", "parameters": 3}]},
        {"outputs": 3},
        {"id": 3},
        {"parameters": 3},
        {"canary": 1},
    ],
)
def test_a_request_that_is_not_of_the_protocol_is_refused(served: Served, more: dict[str, Any]) -> None:
    status, problem = infer(served, tensors(), **more)
    assert (status, problem["code"]) == (422, "invalid-tensors")
    assert "canary" not in json.dumps(problem)


def text(word: bytes) -> bytes:
    return len(word).to_bytes(4, "little") + word


BINARY = {
    "age": struct.pack("<q", 63),
    "temperature": struct.pack("<d", 37.2),
    "lactate": struct.pack("<d", 1.1),
    "admission": text(b"Emergency"),
    "ventilated": b"\x00",
}


def binary(
    served: Served, parts: dict[str, bytes], tail: bytes = b"", **more: Any
) -> tuple[int, dict[str, str], bytes]:
    described = [
        {"name": name, "shape": [1], "datatype": TYPES[name], "parameters": {"binary_data_size": len(part)}}
        for name, part in parts.items()
    ]
    head = json.dumps({"inputs": described, **more}).encode()
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    return served.request("POST", INFER, head + b"".join(parts.values()) + tail, headers)


def test_binary_tensors_are_answered_like_json_ones(served: Served) -> None:
    status, _, body = binary(served, BINARY)
    assert status == 200
    assert value(json.loads(body)) == EXPECTED


def test_binary_outputs_come_back_behind_their_header(served: Served) -> None:
    status, headers, body = binary(served, BINARY, parameters={"binary_data_output": True})
    assert status == 200
    size = int(headers["inference-header-content-length"])
    outputs = json.loads(body[:size])["outputs"]
    assert [output["parameters"]["binary_data_size"] for output in outputs] == [8, 7]
    assert body[size:] == struct.pack("<d", EXPECTED) + text(b"low")


def test_one_output_may_be_binary_and_another_not(served: Served) -> None:
    outputs = [{"name": "mortality", "parameters": {"binary_data": True}}, {"name": "mortality_band"}]
    _, headers, body = binary(served, BINARY, outputs=outputs)
    size = int(headers["inference-header-content-length"])
    assert json.loads(body[:size])["outputs"][1]["data"] == ["low"]
    assert body[size:] == struct.pack("<d", EXPECTED)


@pytest.mark.parametrize(
    "change",
    [
        {"age": b"\x00"},
        {"ventilated": b"\x02"},
        {"temperature": struct.pack("<d", float("nan"))},
        {"temperature": struct.pack("<d", float("inf"))},
        {"admission": text(b"\xff")},
        {"admission": b"\xff\xff\xff\xff"},
        {"admission": b"\x01"},
        {"admission": text(b"Emergency") * 2},
    ],
)
def test_broken_binary_tensors_are_refused(served: Served, change: dict[str, bytes]) -> None:
    status, _, body = binary(served, BINARY | change)
    assert (status, json.loads(body)["code"]) == (422, "invalid-tensors")


def test_binary_data_that_no_tensor_claims_is_refused(served: Served) -> None:
    assert binary(served, BINARY, b"more")[0] == 422


@pytest.mark.parametrize("length", ["-1", "x", "99999999", "1" * 30])
def test_a_header_length_that_is_none_is_refused(served: Served, length: str) -> None:
    body = json.dumps({"inputs": tensors()}).encode()
    assert served.request("POST", INFER, body, {"inference-header-content-length": length})[0] == 422


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tail=st.binary(max_size=64), name=st.sampled_from(list(BINARY)), part=st.binary(max_size=24))
def test_no_binary_data_makes_the_server_fail(served: Served, tail: bytes, name: str, part: bytes) -> None:
    assert binary(served, BINARY | {name: part}, tail)[0] in (200, 422)


@settings(max_examples=150, deadline=None)
@given(
    age=st.integers(-(2**63), 2**63 - 1) | st.integers(0, 130),
    temperature=st.floats(allow_nan=False, allow_infinity=False) | st.floats(25, 45),
    admission=st.sampled_from(["Elective", "Emergency"]) | st.text(),
    ventilated=st.booleans(),
)
def test_binary_tensors_and_predict_agree_on_every_patient(served: Served, **drawn: Any) -> None:
    parts = {
        "age": struct.pack("<q", drawn["age"]),
        "temperature": struct.pack("<d", drawn["temperature"]),
        "admission": text(drawn["admission"].encode()),
        "ventilated": struct.pack("<?", drawn["ventilated"]),
    }
    status, _, body = binary(served, parts)
    same, answer = served.post({"inputs": drawn})
    assert status == same
    if status == 200:
        assert value(json.loads(body)) == answer["predictions"][0]["value"]
    else:
        assert json.loads(body)["violations"] == answer["violations"]


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(list(TYPES)),
    key=st.sampled_from(["name", "shape", "datatype", "parameters", "data"]),
    found=any_json,
)
def test_no_tensor_makes_the_server_fail(served: Served, name: str, key: str, found: Any) -> None:
    assert infer(served, tensors(**{name: {key: found}}))[0] in (200, 422)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
sizes = st.fixed_dictionaries({}, optional={"unit": any_json, "binary_data_size": st.integers(-1, 20) | any_json})
tensor = st.fixed_dictionaries(
    {"name": st.sampled_from(list(TYPES)) | any_json},
    optional={
        "shape": st.lists(st.integers(-1, 3), max_size=3) | any_json,
        "datatype": st.sampled_from([*NUMBERS, "BOOL", "BYTES"]) | any_json,
        "data": st.lists(any_json, max_size=3) | scalars,
        "parameters": sizes | any_json,
    },
)
output = st.fixed_dictionaries(
    {"name": st.sampled_from(["mortality", "mortality_band"]) | any_json}, optional={"parameters": any_json}
)
requests = any_json | st.fixed_dictionaries(
    {"inputs": st.just(tensors()) | st.lists(tensor | st.sampled_from(tensors()), max_size=5) | any_json},
    optional={"outputs": st.lists(output, max_size=2) | any_json, "id": scalars, "parameters": any_json},
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(asked=requests, tail=st.binary(max_size=20))
def test_no_infer_request_makes_the_server_fail(served: Served, asked: Any, tail: bytes) -> None:
    head = json.dumps(asked).encode()
    headers = {"inference-header-content-length": str(len(head))}
    assert served.request("POST", INFER, head + tail, headers)[0] in (200, 400, 422)
