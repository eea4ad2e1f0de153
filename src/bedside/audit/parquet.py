"""A Parquet file of rows, written as they come. Through pyarrow, the extra ``parquet``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from bedside.audit.entries import Entry
from bedside.audit.rows import Row, rows
from bedside.errors import ToolFailed

try:
    import pyarrow as pa
    from pyarrow import parquet
except ImportError as error:
    raise ToolFailed(
        "Parquet files need the package pyarrow", remedy='Install it with `pip install "bedside[parquet]"`.'
    ) from error

_GROUP: Final = 10_000
"""Rows of a row group, and so all that is held in memory."""

_WORD: Final = pa.dictionary(pa.int32(), pa.string())

SCHEMA: Final = pa.schema(
    [
        ("pod", _WORD),
        ("boot", _WORD),
        ("segment", pa.int32()),
        ("seq", pa.int64()),
        ("time", pa.timestamp("us", "UTC")),
        ("mono_us", pa.int64()),
        ("kind", _WORD),
        ("model", _WORD),
        ("version", _WORD),
        ("release", _WORD),
        ("image", _WORD),
        ("request", pa.string()),
        ("caller", _WORD),
        ("row", pa.int32()),
        ("value", pa.float64()),
        ("label", _WORD),
        ("band", _WORD),
        ("flags", pa.list_(pa.struct([("code", pa.string()), ("input", pa.string())]))),
        ("batch", pa.int32()),
        ("duration_us", pa.int64()),
        ("status", pa.int16()),
        ("code", _WORD),
        ("event", _WORD),
        ("reason", _WORD),
        ("inputs_hmac", pa.string()),
        ("inputs", pa.string()),
        ("hash", pa.string()),
    ]
)
"""Columns. ``row`` counts from 0 within a request; ``value`` holds numbers, ``label`` what is none."""


class ParquetFile:
    """Grows by row groups; use it as a context."""

    def __init__(self, path: Path) -> None:
        self._writer = parquet.ParquetWriter(path, SCHEMA, compression="zstd")
        self._waiting: list[Row] = []

    def __enter__(self) -> "ParquetFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def add(self, entry: Entry, inputs: Sequence[Mapping[str, object]] | None) -> None:
        """Append the rows of ``entry``; a column that one leaves out is null."""
        self._waiting += rows(entry, inputs)
        if len(self._waiting) >= _GROUP:
            self._flush()

    def describe(self, found: object) -> None:
        """Put what the log was found to be into the metadata of the file, as JSON under ``bedside.audit``."""
        self._writer.add_key_value_metadata({"bedside.audit": json.dumps(found)})

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=SCHEMA))
            self._waiting.clear()
