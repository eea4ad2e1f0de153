"""The shape of ``[deploy]``: what an author decides about the cluster. The release digest covers nothing of it."""

from typing import Annotated, Literal

from pydantic import Field, Strict

from bedside.spec.section import Section

_Words = Annotated[tuple[str, ...], Strict(strict=False)]


class GatewaySection(Section):
    """The Gateway (Gateway API) that ends TLS and sends predictions to the model."""

    name: str = Field(description="Name of the Gateway.")
    namespace: str = Field(description="Its namespace; its proxies may reach the model.")
    listener: str = Field(default="https", description="Its HTTPS listener.")
    backend_ca: str | None = Field(
        default=None, description="ConfigMap with the authority of the pods' certificates; needed with [serve.tls]."
    )


class IngressSection(Section):
    """The Ingress controller, where there is no Gateway."""

    class_name: str = Field(alias="class", description="IngressClass.")
    namespace: str = Field(description="Namespace of its controller, which may reach the model.")
    tls_secret: str = Field(description="Secret with the certificate of the host.")


class ReplicasSection(Section):
    """How many pods there are."""

    min: int = Field(default=3, ge=1, le=1_000, description="Never fewer; at least 2.")
    max: int = Field(default=10, ge=1, le=1_000, description="Never more.")
    below_two_because: str = Field(default="", description="Why one pod is enough; stands in the manifests.")
    custom_metrics: bool = Field(
        default=False, description="Scale by requests in flight and latency too; needs an adapter for custom metrics."
    )


class ResourcesSection(Section):
    """What a pod gets; left out, it is computed from what packaging measured."""

    cpu: str | None = Field(default=None, description="Cores, request and limit.", examples=["1", "500m"])
    memory: str | None = Field(default=None, description="Memory, request and limit.", examples=["1Gi"])
    gpus: int = Field(default=0, ge=0, le=16, description="Whole GPUs (nvidia.com/gpu).")
    spare_gpu: bool = Field(default=False, description="Whether a rollout may take one pod's GPUs more than usual.")


class AuditVolumeSection(Section):
    """Where the audit log lies."""

    kind: Literal["claim", "scratch"] = Field(
        default="claim", description="A PersistentVolumeClaim, or an emptyDir that goes with its pod."
    )
    size: str = Field(default="20Gi", description="Size of the claim, or limit of each pod's emptyDir.")
    storage_class: str | None = Field(default=None, description="StorageClass; the cluster's default where left out.")
    access: Literal["ReadWriteMany", "ReadWriteOncePod", "ReadWriteOnce"] = Field(
        default="ReadWriteMany", description="Every pod writes a folder of its own, on whichever node it is."
    )


class StoreSection(Section):
    """A store of the External Secrets Operator, already in the cluster."""

    kind: Literal["SecretStore", "ClusterSecretStore"] = Field(default="ClusterSecretStore")
    name: str = Field(description="Name of the store.")
    backend: Literal["aws", "vault", "gcp", "azure"] = Field(
        default="aws",
        description="What is behind it: Secrets Manager, Vault, Google Secret Manager, Key Vault. Decides names in it.",
    )
    path: str = Field(description="Key in the store, without the file's name.", examples=["icu-mortality"])
    refresh: str = Field(default="1h", description="How often it is asked.", pattern=r"^[1-9][0-9]*[smh]$")


class SecretsSection(Section):
    """Where keys come from; by reference only."""

    audit: str | None = Field(default=None, description="Secret with the keys of the audit log, mounted as files.")
    auth: str | None = Field(default=None, description="Secret with what authentication believes, mounted as files.")
    tls: str | None = Field(default=None, description="Secret of type kubernetes.io/tls with the pods' certificate.")
    store: StoreSection | None = Field(default=None, description="Makes them; left out, they are there already.")
    pull: str | None = Field(default=None, description="Secret of type dockerconfigjson for a private registry.")


class PlaceSection(Section):
    """Where something is that the pods reach; they reach nothing else."""

    namespace: str | None = Field(default=None, description="Its namespace, where it runs in the cluster.")
    cidrs: _Words = Field(default=(), description="Its addresses, where it does not.", examples=[["203.0.113.0/28"]])


class IssuerSection(PlaceSection):
    """The issuer of tokens, whose keys the pods fetch."""

    port: int = Field(default=443, ge=1, le=65_535, description="The port of its pods, or of its addresses.")
    own_ca: bool = Field(default=False, description="Whether the Secret holds jwks-ca.crt, its authority.")


class TracingSection(PlaceSection):
    """The OpenTelemetry collector that spans are sent to."""

    endpoint: str = Field(
        description="Its address, OTLP over HTTP.",
        examples=["http://collector.observability.svc:4318"],
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
    )
    port: int = Field(default=4318, ge=1, le=65_535, description="The port of its pods, or of its addresses.")
    ratio: float = Field(default=1.0, ge=0, le=1, description="Share of traces kept, unless a caller decides.")


class ModelStoreSection(PlaceSection):
    """Object storage that the model is fetched from, and as whom. By identity alone; no field takes a key."""

    port: int = Field(default=443, ge=1, le=65_535, description="The port of its pods, or of its addresses.")
    region: str | None = Field(default=None, description="Region of the bucket.", pattern=r"^[a-z0-9-]+$")
    endpoint: str | None = Field(
        default=None,
        description="Its address, where it is none of the cloud's own: a store in the house, a private endpoint.",
        examples=["https://minio.storage.svc"],
        pattern=r"^https://[^\s/?#@]+(/[^\s?#]*)?$",
    )
    account: str | None = Field(default=None, description="Azure storage account.", pattern=r"^[a-z0-9]{3,24}$")
    aws_role: str | None = Field(
        default=None,
        description="Role of the ServiceAccount (IRSA); left out with EKS Pod Identity.",
        examples=["arn:aws:iam::123456789012:role/icu-models"],
        pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$",
    )
    google_account: str | None = Field(
        default=None,
        description="Google service account that it acts as; left out where the ServiceAccount itself may read.",
        pattern=r"^[a-z0-9-]+@[a-z0-9.-]+\.iam\.gserviceaccount\.com$",
    )
    azure_client: str | None = Field(
        default=None,
        description="Client id of the managed identity (Entra Workload ID).",
        pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    )


class MonitoringSection(Section):
    """Prometheus Operator and Grafana."""

    enabled: bool = Field(default=True, description="Write the three below; none of them where this is false.")
    pod_monitor: bool = Field(default=True, description="PodMonitor: Prometheus reads the metrics.")
    alerts: bool = Field(default=True, description="PrometheusRule: whom to wake.")
    dashboard: bool = Field(default=True, description="Dashboard in a ConfigMap that Grafana's sidecar finds.")
    namespace: str = Field(default="monitoring", description="Where Prometheus runs; it may read the metrics.")
    labels: dict[str, str] = Field(
        default_factory=dict, description="Labels by which Prometheus finds rules and monitors."
    )
    p99_seconds: float = Field(default=0.5, gt=0, le=10, description="Objective: 99 of 100 answers are faster.")
    error_ratio: float = Field(default=0.01, gt=0, lt=1, description="Objective: share of answers that are errors.")
    outside_ratio: float = Field(default=0.05, gt=0, lt=1, description="Share of an input outside of `expected`.")


class StagingSection(Section):
    """The second environment: what differs from production."""

    namespace: str | None = Field(default=None, description="<namespace>-staging where left out.")
    host: str | None = Field(default=None, description="Its own host; must differ.")
    replicas: ReplicasSection | None = Field(default=None, description="As in production where left out.")


class DeploySection(Section):
    """Kubernetes: where it runs, who may reach it, what it gets."""

    namespace: str | None = Field(default=None, description="The model's name where left out.")
    exposure: Literal["gateway", "ingress", "none"] = Field(default="gateway", description="How callers outside reach.")
    host: str | None = Field(default=None, description="DNS name of the predictions.", examples=["icu.example.org"])
    gateway: GatewaySection | None = None
    ingress: IngressSection | None = None
    callers: _Words = Field(default=(), description="Namespaces whose pods may ask for predictions directly.")
    mesh: Literal["none", "istio"] = Field(default="none", description="Mutual TLS between pods, and who may call.")
    replicas: ReplicasSection = ReplicasSection()
    resources: ResourcesSection = ResourcesSection()
    audit_volume: AuditVolumeSection = AuditVolumeSection()
    secrets: SecretsSection = SecretsSection()
    issuer: IssuerSection | None = Field(default=None, description="Needed where keys of tokens are fetched.")
    tracing: TracingSection | None = Field(default=None, description="Needed with [serve] tracing.")
    model_store: ModelStoreSection | None = Field(default=None, description="Needed for a model in object storage.")
    release_key: str | None = Field(
        default=None,
        description="Public key in PEM, beside bedside.toml, that every pod holds contract.sig against.",
        examples=["release.pub"],
    )
    monitoring: MonitoringSection = MonitoringSection()
    priority_class: str | None = Field(default=None, description="PriorityClass that is in the cluster.")
    staging: StagingSection | None = None
