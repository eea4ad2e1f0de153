"""PodDisruptionBudget: how many pods a node drain may take at once."""

from bedside.kube.objects import LabelSelector, Part, Resource
from bedside.kube.plan import Plan


class PodDisruptionBudgetSpec(Part, frozen=True, kw_only=True):
    """One at a time; a pod that is not ready protects nobody, so it may always go."""

    max_unavailable: int
    unhealthy_pod_eviction_policy: str
    selector: LabelSelector


class PodDisruptionBudget(Resource, frozen=True, kw_only=True):
    """Limits voluntary evictions."""

    api_version: str = "policy/v1"
    kind: str = "PodDisruptionBudget"
    spec: PodDisruptionBudgetSpec


def disruption_budget(plan: Plan) -> PodDisruptionBudget:
    """A drain takes one pod and waits for its successor."""
    return PodDisruptionBudget(
        metadata=plan.metadata(),
        spec=PodDisruptionBudgetSpec(
            max_unavailable=1,
            unhealthy_pod_eviction_policy="AlwaysAllow",
            selector=LabelSelector(match_labels=plan.selector),
        ),
    )
