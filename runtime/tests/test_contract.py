import json

import msgspec
import pytest

from bedside_runtime.contract import Contract, Converted, Engine, decode, encode
from bedside_runtime.errors import ContractInvalid
from contracts import contract


def changed(**changes: object) -> bytes:
    value = json.loads(encode(contract())) | changes
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def test_a_contract_survives_its_own_bytes() -> None:
    assert decode(encode(contract())) == contract()


def test_only_the_contract_of_a_converted_model_has_a_key_for_it() -> None:
    assert "converted" not in json.loads(encode(contract()))["engine"]
    engine = Engine(name="onnx", converted=Converted(path="engine/model.onnx", converters={}, opsets={"ai.onnx": 17}))
    with_one = msgspec.structs.replace(contract(), engine=engine)
    assert decode(encode(with_one)) == with_one


def test_a_contract_says_which_engines_were_passed_over_where_some_were() -> None:
    assert "passed_over" not in json.loads(encode(contract()))["engine"]
    with_one = msgspec.structs.replace(contract(), engine=Engine(passed_over={"folded": "it is not linear"}))
    assert decode(encode(with_one)) == with_one


def test_equal_contracts_have_equal_bytes() -> None:
    assert encode(contract()) == encode(msgspec.convert(msgspec.to_builtins(contract()), Contract))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cannot be read"),
        (b"[]", "does not follow"),
        (changed(schema=2), "has schema 2; this runtime reads schema 1"),
        (changed(schema=True), "does not follow|canonical"),
        (changed(colour="red"), "unknown field `colour`"),
        (changed(name=None), "name"),
        (encode(contract()) + b"\n", "not in canonical form"),
        (encode(contract()).replace(b'"icu-test"', b'"icu\\u002dtest"'), "not in canonical form"),
    ],
)
def test_a_contract_that_is_not_exactly_one_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ContractInvalid, match=said):
        decode(data)


def test_a_missing_key_is_refused() -> None:
    value = json.loads(encode(contract()))
    del value["golden"]
    with pytest.raises(ContractInvalid, match="golden"):
        decode(json.dumps(value).encode())
