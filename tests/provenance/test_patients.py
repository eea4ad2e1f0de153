"""Files that hold patients, all invented, and files that look a little like them."""

import gzip
import io
import json
import pickle
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bedside.provenance import contents, patients
from bedside.provenance.contents import Entry, File, Unopened

ROWS = [("1001", "1950-01-02", "120"), ("1002", "1961-03-04", "135"), ("1003", "1972-05-06", "128")]


def table(*columns: str, delimiter: str = ",", end: str = "\n") -> bytes:
    lines = [columns, *[row[: len(columns)] for row in ROWS]]
    return end.join(delimiter.join(line) for line in lines).encode()


def opened(path: str, data: bytes) -> File:
    return contents.read(Entry(path, "1 of 1 (code)", len(data), lambda: iter([data])))


def found(path: str, data: bytes) -> set[str]:
    file = opened(path, data)
    return {item.rule for one in (file, *contents.inside(file)) for item in patients.judge(one)}


def frame(dtype: Any) -> pd.DataFrame:
    """A table whose columns are named as pandas keeps them without pyarrow (objects), or with it (Arrow's buffers)."""
    return pd.DataFrame([["1", 1, 2]], columns=pd.Index(["mrn", "v", "Größe"], dtype=dtype))


def excel(*cells: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        texts = "".join(f"<si><t>{cell}</t></si>" for cell in cells)
        archive.writestr("xl/sharedStrings.xml", f"<sst>{texts}</sst>")
    return out.getvalue()


def database(tmp_path: Path) -> bytes:
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE stays (mrn TEXT, dob TEXT, systolic REAL)")
    connection.close()
    return path.read_bytes()


def parquet(*names: str) -> bytes:
    """The frame of a Parquet file: the footer's names stand behind their length, as Thrift writes them."""
    footer = b"".join(b"\x15\x0c\x25\x02\x18" + bytes([len(name)]) + name.encode() + b"\x00" for name in names)
    return b"PAR1" + bytes(2000) + footer + len(footer).to_bytes(4, "little") + b"PAR1"


HL7 = (
    "MSH|^~\\&|LAB|H|EHR|H|202601021200||ORU^R01|1|P|2.5\rPID|1||1001^^^H^MR||Invented^Ida||19500102|F\r"
    "OBX|1|NM|8480-6||120|mm[Hg]\r"
)
FHIR = {"resourceType": "Patient", "id": "1", "name": [{"family": "Invented"}], "birthDate": "1950-01-02"}
BUNDLE = {"resourceType": "Bundle", "entry": [{"resource": FHIR}, {"resource": {"resourceType": "Observation"}}]}

NHS = ["9434765919", "943 476 5870", "401-023-2137", "9876543210", "1234567881"]
"""Numbers of ten digits whose last one checks the others."""

PATIENTS: dict[str, tuple[str, bytes, str]] = {
    "a table with a record number": ("train.csv", table("MRN", "when", "systolic"), "BED-SCN-010"),
    "a date of birth": ("x.txt", table("id", "Date of Birth", "systolic"), "BED-SCN-010"),
    "tabs and Windows lines": ("x.tsv", table("nhs_number", "b", "c", delimiter="\t", end="\r\n"), "BED-SCN-010"),
    "semicolons in German": ("x.csv", table("Fallnummer", "Geburtsdatum", "RR", delimiter=";"), "BED-SCN-010"),
    "accents in French": ("x.csv", table("id", "Date de naissance", "TA"), "BED-SCN-010"),
    "names beside a diagnosis": ("x.csv", table("First Name", "icd10", "x"), "BED-SCN-010"),
    "names beside an address": ("x.csv", table("Nachname", "PLZ", "x"), "BED-SCN-010"),
    "a comment above the header": ("x.csv", b"# export of today\n" + table("MRN", "b", "c"), "BED-SCN-010"),
    "a byte order mark": ("x.csv", b"\xef\xbb\xbf" + table("MRN", "b", "c"), "BED-SCN-010"),
    "UTF-16 as spreadsheets write it": ("x.csv", table("MRN", "b", "c").decode().encode("utf-16"), "BED-SCN-010"),
    "no ending": ("opt/data", table("patient_name", "b", "c"), "BED-SCN-010"),
    "no header, NHS numbers": ("x.csv", "".join(f"{n},1\n" for n in ["4010232137", *NHS]).encode(), "BED-SCN-010"),
    "no header, social security": (
        "x.csv",
        "".join(f"{n}-45-{n}0,1\n" for n in range(101, 109)).encode().replace(b"0,1", b",1").replace(b"-45-", b"-45-1"),
        "BED-SCN-010",
    ),
    "lines of JSON": ("x.jsonl", b"".join(b'{"mrn": "%d", "v": 1}\n' % n for n in range(3)), "BED-SCN-010"),
    "a list of JSON": ("x.json", json.dumps({"rows": [{"mrn": "1"}, {"mrn": "2"}]}).encode(), "BED-SCN-010"),
    "columns of JSON": ("x.json", json.dumps({"dob": ["1950", "1951"], "v": [1, 2]}).encode(), "BED-SCN-010"),
    "columns as pandas writes them": (
        "x.json",
        pd.DataFrame({"mrn": ["1", "2"], "v": [1, 2]}).to_json().encode(),
        "BED-SCN-010",
    ),
    "a compressed table": ("train.csv.gz", gzip.compress(table("MRN", "b", "c")), "BED-SCN-010"),
    "a table in a wheel": ("x.whl", b"", "BED-SCN-010"),
    "a spreadsheet": ("x.xlsx", excel("MRN", "Date of Birth", "systolic"), "BED-SCN-010"),
    "a spreadsheet of names": ("x.xlsx", excel("Surname", "Diagnosis"), "BED-SCN-010"),
    "a Parquet file": ("x.parquet", parquet("mrn", "systolic"), "BED-SCN-010"),
    "a Parquet file with a long name": ("x", parquet("patient_name", "v"), "BED-SCN-010"),
    "a pickled table": ("x.pkl", pickle.dumps(pd.DataFrame({"mrn": ["1"], "v": [1]})), "BED-SCN-010"),
    **{
        f"a pickled table, {dtype} names, protocol {protocol}": (
            "x.pkl",
            pickle.dumps(frame(dtype), protocol=protocol),
            "BED-SCN-010",
        )
        for dtype in (object, "string[pyarrow]", "string[python]")
        for protocol in (2, 4, 5)
    },
    "an HDF5 file": ("x.h5", b"\x89HDF\r\n\x1a\n" + bytes(99) + b"date_of_birth\0" + bytes(99), "BED-SCN-010"),
    "an SQLite database": ("x.db", b"", "BED-SCN-010"),
    "HL7 version 2": ("x.hl7", HL7.encode(), "BED-SCN-011"),
    "HL7 behind its frame": ("log.txt", b"received:\n\x0b" + HL7.encode(), "BED-SCN-011"),
    "a FHIR resource": ("x.json", json.dumps(FHIR).encode(), "BED-SCN-011"),
    "a FHIR bundle": ("x.json", json.dumps(BUNDLE).encode(), "BED-SCN-011"),
    "FHIR in lines": ("x.ndjson", json.dumps(FHIR).encode() + b"\n", "BED-SCN-011"),
    "FHIR in XML": ("x.xml", b'<Patient xmlns="http://hl7.org/fhir"><id value="1"/></Patient>', "BED-SCN-011"),
    "a clinical document": ("x.xml", b'<?xml?><ClinicalDocument xmlns="urn:hl7-org:v3">', "BED-SCN-011"),
    "a DICOM object": ("IM0001", bytes(128) + b"DICM" + bytes(20), "BED-SCN-012"),
}


@pytest.mark.parametrize("case", PATIENTS)
def test_patients_are_found(case: str, tmp_path: Path) -> None:
    path, data, rule = PATIENTS[case]
    if path == "x.whl":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("pkg/data/cohort.csv", table("MRN", "b", "c"))
        data = out.getvalue()
    if path == "x.db":
        data = database(tmp_path)
    assert found(path, data) == {rule}


NOBODY: dict[str, tuple[str, bytes]] = {
    "measurements": ("x.csv", table("age", "systolic", "glucose")),
    "pseudonyms and measurements": ("x.csv", table("subject_id", "age", "systolic")),
    "a header without rows": ("template.csv", b"MRN,Date of Birth,systolic\n"),
    "one row, an example": ("x.csv", b"MRN,dob\n1,2\n"),
    "an empty column": ("x.csv", b"mrn,v\n,1\n,2\n,3\n"),
    "golden cases": ("golden.jsonl", b'{"id": "a", "inputs": {"age": 1, "sex": "f"}, "expected": 1}\n' * 5),
    "species": ("iris.csv", b"name,sepal\nsetosa,1\nvirginica,2\nvirginica,3\n"),
    "authors of a package": ("authors.csv", b"name,email\nA,a@b\nB,b@c\nC,c@d\n"),
    "source code that names a column": ("prepare.py", b'"""Drops mrn, dob and names."""\nDROP = ["mrn", "dob"]\n' * 9),
    "a schema": (
        "schema.json",
        json.dumps({"properties": {"dateOfBirth": {"type": "string", "format": "date"}}}).encode(),
    ),
    "an OpenAPI document": (
        "api.json",
        json.dumps({"components": {"schemas": {"Patient": {"type": "object"}}}}).encode(),
    ),
    "FHIR definitions": ("x.json", json.dumps({"resourceType": "StructureDefinition", "name": "Patient"}).encode()),
    "numbers of ten digits": ("x.csv", b"".join(b"%d,1\n" % n for n in range(1000000000, 1000000010))),
    "one number again and again": ("x.csv", b"9434765919,1\n" * 20),
    "telephone-like numbers": ("x.csv", b"".join(b"%03d-55-0000,1\n" % n for n in range(100, 110))),
    "text": ("x.txt", b"Once upon a time, there was a patient; his name was nobody's business.\n" * 20),
    "nothing": ("empty", b""),
    "a text about HL7": ("x.md", b"A message begins with MSH|^~\\&|, then comes PID|.\n"),
    "broken JSON": ("x.json", b'{"mrn": '),
    "deep JSON": ("x.json", b"[" * 100_000),
    "numbers": ("x.npy", b"\x93NUMPY" + bytes(range(256)) * 100),
}


@pytest.mark.parametrize("case", NOBODY)
def test_what_only_looks_like_it_is_not(case: str) -> None:
    assert found(*NOBODY[case]) == set()


def test_random_numbers_in_a_model_are_no_names_of_columns() -> None:
    weights = np.random.default_rng(1).bytes(8 << 20)
    for mark in (b"\x80\x05", b"PAR1", b"\x93NUMPY", b"\x89HDF\r\n\x1a\n"):
        assert found("model.bin", mark + weights) == set()


@pytest.mark.parametrize(
    "data", [b"MSH|^~\\&|\r" * 200_000, b"[" + b'{"mrn": ' * 100_000, b"CREATE TABLE " * 200_000, b",\n" * 500_000]
)
def test_bytes_that_were_made_to_take_for_ever_do_not(data: bytes) -> None:
    assert found("x", data) == set()
    assert found("y", b"\x80\x04" + data) == set()


def test_what_is_said_names_file_layer_and_column_and_no_value() -> None:
    (item,) = patients.judge(opened("opt/x/train.csv", table("MRN", "Date of Birth", "v")))
    assert item.message == "/opt/x/train.csv is a table of patients: it has dateofbirth, mrn; layer 1 of 1 (code)"
    assert item.remedy


def test_a_footer_is_found_at_the_end_of_a_file_that_is_too_large_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "WHOLE", 1000)
    monkeypatch.setattr(contents, "EDGE", 500)
    data = parquet("patient_name")

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(data), 64):
            yield data[start : start + 64]

    file = contents.read(Entry("x", "1", len(data), chunks))
    assert not file.whole
    assert [item.rule for item in patients.judge(file)] == ["BED-SCN-010"]


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04nothing",
        gzip.compress(b"x" * 100)[:-20],
        gzip.compress(gzip.compress(b"x")),
        gzip.compress(excel("a")),
    ],
)
def test_an_archive_that_cannot_be_looked_into_is_said(data: bytes) -> None:
    with pytest.raises(Unopened):
        list(contents.inside(opened("x", data)))


def test_an_archive_that_unpacks_to_more_than_memory_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_MOST_UNPACKED", 10)
    with pytest.raises(Unopened, match="more than is looked into"):
        list(contents.inside(opened("x", excel("a" * 100))))
