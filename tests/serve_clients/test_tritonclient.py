"""NVIDIA's client for the Open Inference Protocol, unchanged, gets the same numbers as POST /predict."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from served import EXPECTED, PATIENT
from tritonclient.utils import InferenceServerException

TYPES = {
    "age": ("INT64", np.int64),
    "temperature": ("FP64", np.float64),
    "lactate": ("FP64", np.float64),
    "admission": ("BYTES", object),
    "ventilated": ("BOOL", bool),
}


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    made = triton.InferenceServerClient(url=address)
    yield made
    made.close()


def tensors(*, binary: bool, rows: int = 1, **changes: Any) -> list[Any]:
    made = []
    for name, (kind, dtype) in TYPES.items():
        value = changes.get(name, PATIENT[name])
        tensor = triton.InferInput(name, [rows, 1], kind)
        tensor.set_data_from_numpy(np.array([[value]] * rows, dtype=dtype), binary_data=binary)
        made.append(tensor)
    return made


def test_the_client_finds_server_and_model_ready(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("icu-test")
    assert client.is_model_ready("icu-test", "1.2.3")
    metadata = client.get_model_metadata("icu-test")
    assert [item["name"] for item in metadata["inputs"]] == list(TYPES)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_every_transfer_gives_the_same_numbers(client: Any, binary_in: bool, binary_out: bool | None) -> None:
    names = ("mortality", "mortality_band")
    wanted = None if binary_out is None else [triton.InferRequestedOutput(n, binary_data=binary_out) for n in names]
    answer = client.infer("icu-test", tensors(binary=binary_in, rows=3), outputs=wanted)
    assert answer.as_numpy("mortality").tolist() == [[EXPECTED]] * 3
    bands = answer.as_numpy("mortality_band").ravel().tolist()
    assert [band.decode() if isinstance(band, bytes) else band for band in bands] == ["low"] * 3


def test_a_refusal_reaches_the_caller_as_the_client_s_own_error(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="the inputs are not what this model declares"):
        client.infer("icu-test", tensors(binary=True, age=500))
    with pytest.raises(InferenceServerException, match="no model of that name"):
        client.infer("another", tensors(binary=True))
