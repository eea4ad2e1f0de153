"""What a release and the settings of its deployment say against each other: no tree of it would serve. Pure."""

from bedside.errors import UsageError
from bedside.kube.plan import LONGEST_NAME, Plan


def refuse(plan: Plan) -> None:
    """Refuse what the cluster could not hold, or what would hold and answer nobody.

    Raises:
        UsageError: With what to change.
    """
    if len(plan.name) > LONGEST_NAME:
        raise UsageError(
            f"the name {plan.name!r} has {len(plan.name)} characters; host names of its pods hold {LONGEST_NAME} of it",
            remedy="Give [model] a shorter name and package again.",
        )
    _nobody(plan)
    _unreachable(plan)
    if plan.contract.serve.tls is not None:
        _spoken_to_in_clear(plan)


def _nobody(plan: Plan) -> None:
    auth = plan.contract.serve.auth
    if "none" in auth.methods and auth.acknowledged is None:
        raise UsageError(
            f"{plan.contract.ref} authenticates nobody, so it answers on loopback only, and no pod of it starts",
            remedy='Set [serve.auth] methods = ["api-key"], or acknowledged = "mesh terminates it"; package again.',
        )


def _unreachable(plan: Plan) -> None:
    settings = plan.settings
    if plan.fetches_keys and settings.issuer is None:
        raise UsageError(
            f"the pods of {plan.contract.ref} fetch the keys of their issuer, and nothing lets them out",
            remedy="Say in [deploy.issuer] where it is: namespace, or cidrs; or mount the keys, without jwks.",
        )
    if plan.contract.serve.tracing and settings.tracing is None:
        raise UsageError(
            f"the pods of {plan.contract.ref} send spans, and it is not said where to",
            remedy="Add [deploy.tracing]: endpoint, and namespace or cidrs; or leave out [serve] tracing.",
        )
    _unfetched(plan)
    if plan.contract.serve.auth.methods == ("mtls",) and settings.exposure != "none":
        raise UsageError(
            f"callers show their certificates to the {settings.exposure}, and the pods believe nothing else",
            remedy='Write exposure = "none" and name callers; or add another method to [serve.auth] and package again.',
        )


def _unfetched(plan: Plan) -> None:
    store, source = plan.settings.model_store, plan.contract.model.source
    if source is None:
        return
    if store is None:
        raise UsageError(
            f"the pods of {plan.contract.ref} fetch their model from {source}, and nothing lets them out",
            remedy="Add [deploy.model_store]: namespace or cidrs, and the role of the ServiceAccount.",
        )
    if plan.model_scheme == "az" and store.account is None and store.endpoint is None:
        raise UsageError(
            f"{source} names a container, and no account says whose",
            remedy="Write account in [deploy.model_store].",
        )


def _spoken_to_in_clear(plan: Plan) -> None:
    settings = plan.settings
    if settings.mesh == "istio":
        raise UsageError(
            "the mesh could not see which path is called, and would refuse every call",
            remedy="Leave out [serve.tls] and package again: the mesh encrypts between pods; or leave out mesh.",
        )
    if settings.exposure == "ingress":
        raise UsageError(
            "an Ingress has no field that says to speak TLS with the pods",
            remedy='Use exposure = "gateway"; or leave out [serve.tls] and package again.',
        )
    if settings.gateway is not None and settings.exposure == "gateway" and settings.gateway.backend_ca is None:
        raise UsageError(
            "the gateway would speak clear text to pods that speak TLS",
            remedy="Name in [deploy.gateway] backend_ca the ConfigMap with the authority of their certificates.",
        )
