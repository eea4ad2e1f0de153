"""The Open Inference Protocol v2: an infer request to instances, predictions to output tensors. Pure.

Source: kserve/open-inference-protocol, inference_rest.yaml; the binary tensor data extension as Triton defines
it. Every input is a tensor of its own, found by name: a matrix of anonymous features is refused, because the
order of its columns would be luck.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from bedside_runtime.contract import Contract, Input, Output
from bedside_runtime.serve import plain, tensors
from bedside_runtime.serve.problems import Problem
from bedside_runtime.service import Prediction

_REQUEST_KEYS = {"id", "parameters", "inputs", "outputs"}
_TENSOR_KEYS = {"name", "shape", "datatype", "parameters", "data"}


class Wanted(Struct, frozen=True):
    """One output tensor that is asked for, and whether as binary data."""

    name: str
    binary: bool


class InferRequest(Struct, frozen=True):
    """A decoded infer request: the caller's id, the instances still unchecked, the outputs asked for."""

    id: str | None
    instances: list[dict[str, object]]
    outputs: tuple[Wanted, ...]


def decode(data: bytes, header_length: str | None, contract: Contract) -> InferRequest:
    """Decode an infer request.

    Args:
        data: The body.
        header_length: ``Inference-Header-Content-Length``: where the JSON ends and binary data begins.
        contract: Names and types of the inputs and the output.

    Raises:
        Problem: The request is not of the protocol, or its tensors are not this model's.
    """
    text, binary = _split(data, header_length)
    value = plain.strict(text)
    if not isinstance(value, dict) or value.keys() - _REQUEST_KEYS:
        raise Problem("invalid-tensors", f"the request must be an object with {', '.join(sorted(_REQUEST_KEYS))}")
    parameters = _parameters(value, "the request")
    request_id = value.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise Problem("invalid-tensors", "id must be a string")
    try:
        instances = _instances(value.get("inputs"), binary, contract)
    except tensors.TensorInvalid as error:
        raise Problem("invalid-tensors", str(error)) from None
    return InferRequest(request_id, instances, _wanted(value.get("outputs"), contract.output, parameters))


def encode(
    request: InferRequest, request_id: str, contract: Contract, digest: str, predictions: Sequence[Prediction]
) -> tuple[bytes, dict[str, str]]:
    """Return the answer's body and the headers that go with it."""
    columns = {name: [getattr(item, part) for item in predictions] for name, part in _columns(contract.output).items()}
    outputs, blobs = [], []
    for wanted in request.outputs:
        values = columns[wanted.name]
        kind = tensors.kind_of(values)
        tensor: dict[str, Any] = {"name": wanted.name, "datatype": kind, "shape": [len(values), 1]}
        if wanted.binary:
            blobs.append(tensors.to_binary(values, kind))
            tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            tensor["data"] = values
        outputs.append(tensor)
    document = {
        "model_name": contract.name,
        "model_version": contract.version,
        "id": request.id or request_id,
        "parameters": {"release_digest": f"sha256:{digest}"},
        "outputs": outputs,
    }
    text = msgspec.json.encode(document)
    if not blobs:
        return text, {"content-type": "application/json"}
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(text))}
    return b"".join([text, *blobs]), headers


def metadata(contract: Contract) -> dict[str, Any]:
    """Return the model metadata document."""
    output = contract.output
    declared = {"probability": "FP64", "value": "FP64", "class": "BYTES"}[output.type]
    outputs = [{"name": output.name, "datatype": declared, "shape": [-1, 1]}]
    if output.bands:
        outputs.append({"name": f"{output.name}_band", "datatype": "BYTES", "shape": [-1, 1]})
    inputs = [{"name": item.name, "datatype": tensors.datatype(item), "shape": [-1, 1]} for item in contract.inputs]
    return {
        "name": contract.name,
        "versions": [contract.version],
        "platform": f"bedside_{contract.model.framework}",
        "inputs": inputs,
        "outputs": outputs,
    }


def _columns(output: Output) -> dict[str, str]:
    columns = {output.name: "value"}
    return columns | {f"{output.name}_band": "band"} if output.bands else columns


def _split(data: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    if header_length is None:
        return data, b""
    if not header_length.isdecimal() or len(header_length) > 12 or int(header_length) > len(data):
        raise Problem("invalid-tensors", "Inference-Header-Content-Length is not the size of the JSON part")
    return data[: int(header_length)], data[int(header_length) :]


def _parameters(value: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    parameters = value.get("parameters", {})
    if not isinstance(parameters, dict):
        raise Problem("invalid-tensors", f"parameters of {where} must be an object")
    return parameters


def _instances(listed: object, binary: bytes, contract: Contract) -> list[dict[str, object]]:
    if not isinstance(listed, list) or not listed:
        raise tensors.TensorInvalid("inputs must be a non-empty list of tensors")
    declared = {item.name: item for item in contract.inputs}
    columns: dict[str, list[object]] = {}
    place = 0
    for tensor in listed:
        item = _declared(tensor, declared, columns)
        count = tensors.rows(tensor.get("shape"), item.name)
        if count > contract.serve.max_instances:
            raise Problem("too-many-instances", f"at most {contract.serve.max_instances} instances")
        size = _binary_size(tensor, item.name)
        columns[item.name] = _column(tensor, item, count, binary[place : place + (size or 0)], size)
        place += size or 0
    if place != len(binary):
        raise tensors.TensorInvalid("the binary data has not the size that the tensors say")
    sizes = {len(column) for column in columns.values()}
    if len(sizes) != 1 or 0 in sizes:
        raise tensors.TensorInvalid("all tensors must hold the same number of rows, at least one")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _declared(tensor: object, declared: Mapping[str, Input], seen: Mapping[str, object]) -> Input:
    if not isinstance(tensor, dict) or tensor.keys() - _TENSOR_KEYS or not isinstance(tensor.get("name"), str):
        raise tensors.TensorInvalid(f"a tensor must be an object with {', '.join(sorted(_TENSOR_KEYS))}")
    item = declared.get(tensor["name"])
    if item is None:
        names = ", ".join(declared)
        raise tensors.TensorInvalid(f"a tensor has a name that this model does not declare; send one each of: {names}")
    if item.name in seen:
        raise tensors.TensorInvalid(f"{item.name} is sent twice")
    return item


def _binary_size(tensor: Mapping[str, Any], name: str) -> int | None:
    size = _parameters(tensor, name).get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0 or "data" in tensor:
        raise tensors.TensorInvalid(f"{name}: binary_data_size must be a size, and then there is no data")
    return size


def _column(tensor: Mapping[str, Any], item: Input, count: int, data: bytes, size: int | None) -> list[object]:
    kind = tensor.get("datatype")
    if not isinstance(kind, str) or kind not in tensors.ACCEPTED[item.type]:
        accepted = ", ".join(sorted(tensors.ACCEPTED[item.type]))
        raise tensors.TensorInvalid(f"{item.name}: datatype must be one of {accepted}")
    if size is None:
        values = tensors.from_json(tensor.get("data"), count, item.name)
    else:
        values = tensors.from_binary(data, kind, count, item.name)
    unit = _parameters(tensor, item.name).get("unit")
    return values if unit is None else [None if value is None else {"value": value, "unit": unit} for value in values]


def _wanted(listed: object, output: Output, parameters: Mapping[str, Any]) -> tuple[Wanted, ...]:
    known = _columns(output)
    binary = parameters.get("binary_data_output") is True
    if listed is None or listed == []:
        return tuple(Wanted(name, binary) for name in known)
    if not isinstance(listed, list):
        raise Problem("invalid-tensors", "outputs must be a list")
    wanted: dict[str, Wanted] = {}
    for item in listed:
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or name not in known or name in wanted:
            raise Problem("invalid-tensors", f"an output must be one of, and each at most once: {', '.join(known)}")
        chosen = _parameters(item, "an output").get("binary_data", binary) is True
        wanted[name] = Wanted(name, chosen)
    return tuple(wanted.values())
