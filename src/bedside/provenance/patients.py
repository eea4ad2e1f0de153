"""Whether a file holds patients: tables, messages, records, images. Pure.

A table is judged by what its columns are called, once several rows have values there: one column that can only be a
patient's (a record number, a date of birth), or a person's name beside an address, a record or a diagnosis. Without a
header, by columns whose values are all valid NHS numbers (their check digit says so) or US social security numbers.
Formats of medicine (HL7 version 2, FHIR, C-CDA, DICOM) are known by their own marks.

What is said names the file and the kind of column, never a value. A table of pseudonyms and measurements passes: it
cannot be told from a model's own golden cases.
"""

import csv
import io
import json
import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, Final

from bedside.findings import Finding
from bedside.provenance import arrow_strings, rules
from bedside.provenance.contents import File

_ROWS: Final = 200
"""Rows of a table that are looked at."""

_ENOUGH: Final = 1 << 17
"""Bytes of a text that a table is looked for in: a header, and rows enough."""

_SEVERAL: Final = 2
"""Rows that make a column of it, and not an example."""

_UNNAMED: Final = 5
"""Rows whose values must all be valid where no header says what they are."""

_DELIMITERS: Final = ",\t;|"
_BINARY_TABLES: Final[Mapping[bytes, str]] = {
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"SQLite format 3\0": "an SQLite database",
    b"<stata_dta>": "a Stata file",
    b"$FL2": "an SPSS file",
    b"\x93NUMPY": "a NumPy file",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
}
_SAS: Final = bytes.fromhex("c2ea8160b31411cfbd92080009c7318c181f1011")
_SPREADSHEET: Final = re.compile(r"xl/(?:sharedstrings|worksheets/[^/]+)\.xml$|!/content\.xml$")
_CELL: Final = re.compile(rb">([^<>]{2,48})<")

_TOKEN: Final = re.compile(rb"[A-Za-z][A-Za-z0-9_ .\-]{5,48}")
_CREATED: Final = re.compile(rb"CREATE TABLE[^\0]{1,4000}")
_SHORT: Final = re.compile(rb"(?:\x8c\x03|\x18\x03|\x03\0\0\0)([A-Za-z]{3})(?![A-Za-pr-z])")
"""A name of three letters behind its length, as pickle, Thrift and FlatBuffers write it: shorter marks stand in numbers
by chance. A ``q`` may follow: in protocol 2 it is the opcode that remembers the name."""

_CHANCE: Final = 6
"""Letters of the shortest name that stands in tens of megabytes of numbers by no chance."""
_HL7: Final = re.compile(
    rb"(?:^|[\r\n\x0b])MSH\|\^~\\&[^\r\n]*(?:\r\n?|\n)(?:[A-Z][A-Z0-9]{2}\|[^\r\n]*(?:\r\n?|\n)){0,60}?PID\|"
)
_FHIR_XML: Final = re.compile(rb"<(?:Patient|Person|RelatedPerson)\s[^>]*http://hl7\.org/fhir")
_CDA: Final = re.compile(rb"<(?:\w+:)?ClinicalDocument\s[^>]*urn:hl7-org:v3")
_SSN: Final = re.compile(r"(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}")
_PEOPLE: Final = frozenset({"Patient", "Person", "RelatedPerson"})
_PERSONAL: Final = frozenset({"name", "birthDate", "identifier", "telecom", "address"})


@dataclass(frozen=True, slots=True)
class _Names:
    """How identifying columns are called."""

    alone: frozenset[str]
    together: Mapping[str, frozenset[str]]

    def identify(self, columns: Iterable[str]) -> list[str]:
        """Return the names that together identify, none where they do not."""
        there = {plain(column): column for column in columns}
        alone = sorted(there.keys() & self.alone)
        if alone:
            return alone
        kinds = {kind: sorted(there.keys() & names) for kind, names in self.together.items()}
        others = [name for kind, names in kinds.items() if kind != "name" for name in names]
        return [*kinds["name"], *others] if kinds["name"] and others else []


@cache
def _names() -> _Names:
    said = tomllib.loads(files("bedside.provenance").joinpath("data/patients.toml").read_text(encoding="utf-8"))
    return _Names(frozenset(said["alone"]), {kind: frozenset(names) for kind, names in said["together"].items()})


def plain(column: str) -> str:
    """Return a column's name without accents, spaces and punctuation, in lower case."""
    spread = unicodedata.normalize("NFKD", column.casefold()).replace("ø", "o").replace("ß", "ss")
    return "".join(character for character in spread if character.isascii() and character.isalnum())


def judge(file: File) -> Iterator[Finding]:
    """Give what a file holds of patients, one finding at most."""
    for look in (_dicom, _hl7, _documents, _binary_table, _json, _table):
        found = look(file)
        if found is not None:
            yield found
            return


def _dicom(file: File) -> Finding | None:
    if file.head[128:132] == b"DICM":
        return _finding("BED-SCN-012", file, "is a DICOM object, which names its patient")
    return None


def _hl7(file: File) -> Finding | None:
    if any(b"MSH|^~" in window and _HL7.search(window) for window in file.windows):
        return _finding("BED-SCN-011", file, "holds HL7 version 2 messages about patients")
    return None


def _documents(file: File) -> Finding | None:
    if any(b"ClinicalDocument" in window and _CDA.search(window) for window in file.windows):
        return _finding("BED-SCN-011", file, "is a clinical document (C-CDA)")
    if any(b"hl7.org/fhir" in window and _FHIR_XML.search(window) for window in file.windows):
        return _finding("BED-SCN-011", file, "holds FHIR resources about patients")
    return None


def _binary_table(file: File) -> Finding | None:
    """Look for the names of columns in formats that keep them as text: in a schema, a footer, a table of strings."""
    kind = next((kind for mark, kind in _BINARY_TABLES.items() if file.head.startswith(mark)), None)
    if kind is None and file.head.startswith(_SAS[:4], 12):
        kind = "a SAS file"
    if kind is not None:
        found = _names().identify(name for window in file.windows for name in _in_binary(window))
    elif _SPREADSHEET.search(file.path.lower()):
        kind, cells = "a spreadsheet", (cell for window in file.windows for cell in _CELL.findall(window))
        found = _names().identify(cell.decode("utf-8", "replace") for cell in cells)
    else:
        return None
    return _table_found(file, kind, found) if found else None


def _in_binary(window: bytes) -> Iterator[str]:
    """Give what could be names of columns among bytes that are mostly numbers."""
    for token in _TOKEN.findall(window):
        text = token.decode("ascii")
        yield from (one for one in (text, *text.split()) if len(one) >= _CHANCE)
    for short in _SHORT.findall(window):
        yield short.decode("ascii")
    for created in _CREATED.findall(window):
        yield from re.findall(r"\w+", created.decode("utf-8", "replace"))
    yield from arrow_strings.names(window)


def _json(file: File) -> Finding | None:
    text = _text(file, len(file.head)) if file.head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[") else None
    if text is None:
        return None
    records = list(islice(_records(text, whole=file.whole), _ROWS))
    if any(_is_person(item) for item in records):
        return _finding("BED-SCN-011", file, "holds FHIR resources about patients")
    filled = Counter(key for item in records for key, value in _flat(item) if value not in (None, ""))
    found = _names().identify(key for key, count in filled.items() if count >= _SEVERAL)
    return _table_found(file, "a list of records", found) if found else None


def _records(text: str, *, whole: bool) -> Iterator[dict[str, Any]]:
    """Give the objects of a JSON document, at whatever depth they stand in lists, or one from each line."""
    if whole:
        try:
            yield from _objects(json.loads(text), 6)
        except (ValueError, RecursionError):
            pass
        else:
            return
    for line in text.splitlines():
        try:
            yield from _objects(json.loads(line), 6)
        except (ValueError, RecursionError):
            continue


def _objects(value: Any, depth: int) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - any JSON value
    match value:
        case dict():
            yield value
            for item in value.values():
                if depth and isinstance(item, (list, dict)):
                    yield from _objects(item, depth - 1)
        case list():
            for item in value:
                if depth:
                    yield from _objects(item, depth - 1)


def _flat(item: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give what a record says of one thing, and what it says as columns: a list is a column of several rows."""
    for key, value in item.items():
        if isinstance(value, list):
            for one in value:
                if not isinstance(one, (list, dict)):
                    yield key, one
        elif isinstance(value, dict):
            if all(place.isdigit() for place in value):  # a column by its rows, as pandas writes it
                yield from ((key, one) for one in value.values() if not isinstance(one, (list, dict)))
        else:
            yield key, value


def _is_person(item: Mapping[str, Any]) -> bool:
    return item.get("resourceType") in _PEOPLE and bool(_PERSONAL & item.keys())


def _table(file: File) -> Finding | None:
    text = _text(file, _ENOUGH)
    if text is None:
        return None
    for start, line in enumerate(islice(text.splitlines(), 5)):
        delimiter = max(_DELIMITERS, key=line.count)
        if line.count(delimiter):
            return _rows_found(file, _rows(text, start, delimiter))
    return None


def _rows(text: str, start: int, delimiter: str) -> list[list[str]]:
    lines = text.splitlines()[start : start + _ROWS]
    try:
        return list(csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter))
    except csv.Error:
        return []


def _rows_found(file: File, rows: Sequence[Sequence[str]]) -> Finding | None:
    if len(rows) <= _SEVERAL:
        return None
    header, body = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    named = [column for place, column in enumerate(header) if sum(bool(row[place].strip()) for row in body) >= _SEVERAL]
    found = _names().identify(named)
    if found:
        return _table_found(file, "a table", found)
    for column in zip(*[row for row in rows if len(row) == len(header)], strict=True):
        kind = _unnamed(column)
        if kind is not None:
            return _table_found(file, "a table", [kind])
    return None


def _unnamed(column: Sequence[str]) -> str | None:
    """Return what a column holds where its values alone say it."""
    values = {value.strip() for value in column[1:] if value.strip()}
    if len(values) < _UNNAMED:
        return None
    if all(_nhs_number(value) for value in values):
        return "NHS numbers"
    if all(_SSN.fullmatch(value) for value in values):
        return "social security numbers"
    return None


def _nhs_number(value: str) -> bool:
    """Whether ``value`` has ten digits, of which the last checks the others (modulus 11)."""
    digits = value.replace(" ", "").replace("-", "")
    if len(digits) != 10 or not digits.isdigit() or len(set(digits)) == 1:
        return False
    check = 11 - sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=False)) % 11
    return check % 11 == int(digits[9]) and check != 10


def _text(file: File, most: int) -> str | None:
    """Return up to ``most`` bytes of a file as text; ``None`` where it is none."""
    head = file.head[:most]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace")
    if b"\0" in head[:8192] or not head:
        return None
    return head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")


def _table_found(file: File, kind: str, found: Sequence[str]) -> Finding:
    return _finding("BED-SCN-010", file, f"is {kind} of patients: it has {', '.join(found[:4])}")


def _finding(rule: str, file: File, what: str) -> Finding:
    return rules.finding(rule, f"/{file.path} {what}; layer {file.layer}", file=f"/{file.path}", path=file.layer)
