"""Whether trivy's vulnerability database may be believed today. Pure.

A scanner without advisories finds nothing and exits 0. So there must be a database, of the schema that is known here,
and it must be young: an old one does not know what has been found since.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import DecodeError, Struct, ValidationError, json

from bedside.errors import ScanIncomplete

FILES: Final = ("trivy.db", "metadata.json")
"""What a database consists of."""

LAYER: Final = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
"""Media type of the layer that holds it in a registry."""

SCHEMA: Final = 2

GET: Final = (
    "Copy one from where there is a network: `oras copy ghcr.io/aquasecurity/trivy-db:2 REGISTRY/trivy-db:2`, and name "
    "it with --db REGISTRY/trivy-db:2; or name a directory with trivy.db and metadata.json."
)

_FUTURE: Final = timedelta(hours=24)


class _Metadata(Struct, frozen=True):
    Version: int
    UpdatedAt: datetime


def updated(metadata: bytes, now: datetime, max_age: timedelta) -> datetime:
    """Return when the database was made.

    Args:
        metadata: The bytes of its metadata.json.
        now: With a time zone.
        max_age: How old it may be.

    Raises:
        ScanIncomplete: It is of another schema, too old, or of a time that has not come.
    """
    try:
        said = json.decode(metadata, type=_Metadata)
    except (DecodeError, ValidationError) as error:
        raise ScanIncomplete(
            f"metadata.json of the vulnerability database cannot be read: {error}", remedy=GET
        ) from None
    if said.Version != SCHEMA:
        raise ScanIncomplete(f"the vulnerability database has schema {said.Version}; {SCHEMA} is known", remedy=GET)
    made = said.UpdatedAt if said.UpdatedAt.tzinfo is not None else said.UpdatedAt.replace(tzinfo=UTC)
    age = now - made
    if age > max_age:
        raise ScanIncomplete(
            f"the vulnerability database is {-(-age // timedelta(days=1))} days old; {max_age.days} are allowed",
            remedy=f"{GET} --db-max-age allows more, if somebody has decided that.",
        )
    if age < -_FUTURE:
        raise ScanIncomplete("the vulnerability database says that it was made in the future", remedy=GET)
    return made
