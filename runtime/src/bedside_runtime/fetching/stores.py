"""Object storage through `obstore`, the runtime's extra ``fetch``: one client for S3, Google Cloud Storage and Azure.

Who asks is what the cloud's own variables and metadata server say of the workload. In a pod nothing else counts: a key
that stands in the environment is refused, not used.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NoReturn

from bedside_runtime.address import Address, Scheme
from bedside_runtime.errors import LibraryMissing, StaticCredentials, StorageRefused, StorageUnavailable

try:
    import obstore
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
    from obstore.store import AzureStore, GCSStore, S3Store
except ImportError as error:
    raise LibraryMissing(
        "a model file in object storage needs the package obstore",
        remedy="Package the release again: an artifact that is an address locks it.",
    ) from error

if TYPE_CHECKING:  # names of its stubs alone
    from obstore.store import ClientConfig, RetryConfig

_STATIC: Final[Mapping[Scheme, frozenset[str]]] = {
    "s3": frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN"}),
    "gs": frozenset(
        {
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_BEARER_TOKEN",
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "GOOGLE_SERVICE_ACCOUNT_PATH",
        }
    ),
    "az": frozenset(
        {
            "AZURE_CLIENT_SECRET",
            "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_CLIENT_SECRET",
            "AZURE_STORAGE_MASTER_KEY",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_STORAGE_TOKEN",
        }
    ),
}
"""Variables that hold a credential, or name a file with one, as the client reads them."""

_IDENTITY: Final[Mapping[Scheme, frozenset[str]]] = {
    "s3": frozenset(
        {
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_SKIP_SIGNATURE",
        }
    ),
    "gs": frozenset(),
    "az": frozenset({"AZURE_FEDERATED_TOKEN_FILE", "AZURE_SKIP_SIGNATURE"}),
}
"""Variables of which a pod has one where it has an identity; Google's comes from the metadata server alone."""

_RETRIES: Final["RetryConfig"] = {"max_retries": 2, "retry_timeout": timedelta(seconds=30)}
"""Of the client itself, within one request; `download` asks again beyond that."""

_CLIENT: Final["ClientConfig"] = {"connect_timeout": "10s", "read_timeout": "30s", "timeout": "300s"}

_CLEAR_TEXT: Final[Mapping[Scheme, str]] = {
    "s3": "AWS_ALLOW_HTTP",
    "gs": "GOOGLE_ALLOW_HTTP",
    "az": "AZURE_ALLOW_HTTP",
}
"""Variables that let a store of one's own house be asked without TLS; what comes is compared in any case."""


class Stored:
    """One object, as `Source` wants it. Texts of the client's errors are dropped: they may quote what it sent."""

    def __init__(self, address: Address, environ: Mapping[str, str], *, local: bool = False) -> None:
        """Open the store of ``address``.

        Args:
            address: The object.
            environ: What the client reads its settings from, this process's own environment.
            local: On an engineer's machine: credentials of the environment count.

        Raises:
            StaticCredentials: In a pod, where a static key is set, or no identity is.
            StorageRefused: The environment's settings make no store.
        """
        if not local:
            _workload_alone(address.scheme, environ)
        self._address = address
        try:
            self._store = _open(address, environ)
        except (BaseError, ValueError):
            raise StorageRefused(
                f"the settings in the environment make no store for {address}",
                remedy="Look at region, endpoint and, with Azure, AZURE_STORAGE_ACCOUNT_NAME.",
            ) from None

    def size(self) -> int:
        """See `Source`."""
        try:
            return obstore.head(self._store, self._address.key)["size"]
        except (BaseError, OSError) as error:
            self._refuse(error)

    def read(self, start: int, end: int) -> memoryview:
        """See `Source`."""
        try:
            return memoryview(obstore.get_range(self._store, self._address.key, start=start, end=end))
        except (BaseError, OSError) as error:
            self._refuse(error)

    def _refuse(self, error: BaseError | OSError) -> NoReturn:
        if isinstance(error, FileNotFoundError):
            raise StorageRefused(f"there is no {self._address}") from None
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            raise StorageRefused(f"{self._address} may not be read by whoever asks here") from None
        raise StorageUnavailable(f"{self._address} cannot be read: no answer, no identity, or a broken one") from None


def _open(address: Address, environ: Mapping[str, str]) -> S3Store | GCSStore | AzureStore:
    options: ClientConfig = {**_CLIENT, "allow_http": environ.get(_CLEAR_TEXT[address.scheme], "").lower() == "true"}
    match address.scheme:
        case "s3":
            return S3Store(address.bucket, client_options=options, retry_config=_RETRIES)
        case "gs":
            return GCSStore(address.bucket, client_options=options, retry_config=_RETRIES)
        case "az":
            return AzureStore(address.bucket, client_options=options, retry_config=_RETRIES)


def _workload_alone(scheme: Scheme, environ: Mapping[str, str]) -> None:
    if found := sorted(_STATIC[scheme] & environ.keys()):
        raise StaticCredentials(f"{', '.join(found)}: a key in the environment is not used to fetch a model")
    if _IDENTITY[scheme] and not _IDENTITY[scheme] & environ.keys():
        raise StaticCredentials(f"the pod has no identity for {scheme}://: its ServiceAccount has no role")
