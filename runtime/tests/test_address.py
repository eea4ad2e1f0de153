"""Addresses in object storage: bucket and key, and never anything that could be a credential."""

import pytest

from bedside_runtime import address
from bedside_runtime.errors import AddressInvalid


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("s3://models/icu/1.0.0/icu.ubj", ("s3", "models", "icu/1.0.0/icu.ubj")),
        ("gs://hospital.example.org/m.onnx", ("gs", "hospital.example.org", "m.onnx")),
        ("az://models/icu_1+b.txt", ("az", "models", "icu_1+b.txt")),
    ],
)
def test_an_address_is_a_bucket_and_a_key(text: str, parts: tuple[str, str, str]) -> None:
    found = address.parse(text)
    assert (found.scheme, found.bucket, found.key) == parts
    assert str(found) == text
    assert found.name == text.rpartition("/")[2]


@pytest.mark.parametrize(
    "text",
    [
        "s3://",
        "s3://models",
        "s3://models/",
        "s3:///icu.ubj",
        "s3://models/icu/",
        "s3://models//icu.ubj",
        "s3://models/../other/icu.ubj",
        "s3://models/.icu.ubj",
        "s3://KEY:SECRET@models/icu.ubj",
        "s3://models/icu.ubj?X-Amz-Signature=SECRET",
        "az://models/icu.ubj?sig=SECRET",
        "s3://models/icu.ubj#SECRET",
        "s3://models/ic u.ubj",
        "s3://models/icu%2f.ubj",
        "S3://models/icu.ubj",
        "https://models.example.org/icu.ubj",
        "file:///etc/passwd",
        "icu.ubj",
        "s3://models/" + "a" * 1_000,
    ],
)
def test_anything_else_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(AddressInvalid) as refused:
        address.parse(text)
    assert "SECRET" not in str(refused.value)
    assert refused.value.remedy


def test_a_path_is_no_address() -> None:
    assert not address.is_address("model/icu.ubj")
    assert not address.is_address("C:/icu.ubj")
    assert address.is_address("http://x/y")
