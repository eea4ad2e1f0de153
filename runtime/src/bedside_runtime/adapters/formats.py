"""Which format an artifact has: its bytes decide, its suffix may not contradict them."""

from pathlib import PurePosixPath

from bedside_runtime.contract import ArtifactFormat, Framework
from bedside_runtime.errors import ModelMismatch

_SUFFIXES: dict[str, tuple[ArtifactFormat, ...]] = {
    ".joblib": ("joblib", "pickle"),
    ".pkl": ("pickle", "joblib"),
    ".pickle": ("pickle", "joblib"),
    ".skops": ("skops",),
    ".json": ("xgboost-json",),
    ".ubj": ("xgboost-ubj",),
    ".txt": ("lightgbm-text",),
    ".lgb": ("lightgbm-text",),
    ".onnx": ("onnx",),
}
"""What a suffix may hold, what it says first; a suffix that is not here says nothing."""

_FRAMEWORKS: dict[Framework, tuple[ArtifactFormat, ...]] = {
    "sklearn": ("joblib", "pickle", "skops"),
    "xgboost": ("xgboost-json", "xgboost-ubj", "joblib", "pickle"),
    "lightgbm": ("lightgbm-text", "joblib", "pickle"),
    "onnx": ("onnx",),
}

_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x5d\x00\x00")
_ZLIB_HEADERS = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_ONNX_FIRST_FIELDS = (0x08, 0x12, 0x3A, 0x42)
"""Protobuf tags that a ModelProto starts with: ir_version, producer_name, graph, opset_import."""


def detect(path: str, data: bytes, framework: Framework) -> ArtifactFormat:
    """Return the format of the artifact ``data`` that lies at ``path``.

    Raises:
        ModelMismatch: Empty, of no known format, contradicted by its suffix, or no format of ``framework``.
    """
    name = PurePosixPath(path).name
    if not data:
        raise ModelMismatch(f"{name} is empty", remedy="Save the model again; the file holds no byte.")
    found = _by_content(data)
    suffix = PurePosixPath(path).suffix.lower()
    expected = _SUFFIXES.get(suffix)
    if found is None:
        raise ModelMismatch(
            f"{name} is of no format that can be served",
            remedy="Save the model as joblib, pickle, skops, XGBoost JSON or UBJ, LightGBM text, or ONNX.",
        )
    if found == "pickle" and expected and expected[0] == "joblib":
        found = "joblib"
    if expected and found not in expected:
        raise ModelMismatch(
            f"{name} holds {found}, which its suffix {suffix} denies",
            remedy="Give the file the suffix of what it holds, or save the model again.",
        )
    if found not in _FRAMEWORKS[framework]:
        raise ModelMismatch(
            f"{name} holds {found}, which is no format of {framework}",
            remedy="Name the framework that made the model in [model] framework.",
        )
    return found


def _by_content(data: bytes) -> ArtifactFormat | None:
    if data.startswith((*_COMPRESSED, *_ZLIB_HEADERS)):
        return "joblib"
    if data.startswith(b"PK\x03\x04"):
        return "skops"
    if data.lstrip()[:1] == b"{":
        return "xgboost-json" if b'"learner"' in data else _ubj(data)
    if data.startswith(b"tree\n") and b"version=" in data[:200]:
        return "lightgbm-text"
    if data[:1] == b"\x80" and len(data) > 1 and data[1] <= 5:
        return "pickle"
    if (data[0] in _ONNX_FIRST_FIELDS and b"ai.onnx" in data) or _first_varint_field(data):
        return "onnx"
    return "pickle" if data.rstrip().endswith(b".") and data[:1] in b"(cdl]}IFSVN" else None


def _ubj(data: bytes) -> ArtifactFormat | None:
    return "xgboost-ubj" if b"learner" in data else None


def _first_varint_field(data: bytes) -> bool:
    """Say whether ``data`` starts like a ModelProto: ir_version below 64, then another top-level field."""
    return (
        len(data) > 3 and data[0] == 0x08 and 0 < data[1] < 64 and data[2] in {0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42}
    )
