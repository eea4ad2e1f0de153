"""Deployment: how one release replaces another without a request failing."""

from collections.abc import Mapping

from bedside.kube.objects import LabelSelector, Part, Resource
from bedside.kube.plan import Plan
from bedside.kube.reasons import Number
from bedside.kube.resources import fetching
from bedside.kube.resources.pod import PodSpec, pod


class TemplateMetadata(Part, frozen=True, kw_only=True):
    """Labels and annotations of the pods; all of them come back when the template does."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class PodTemplateSpec(Part, frozen=True, kw_only=True):
    """What every pod is."""

    metadata: TemplateMetadata
    spec: PodSpec


class RollingUpdateDeployment(Part, frozen=True, kw_only=True):
    """How many more, how many fewer."""

    max_surge: int
    max_unavailable: int


class DeploymentStrategy(Part, frozen=True, kw_only=True):
    """How pods are replaced."""

    type: str
    rolling_update: RollingUpdateDeployment


class DeploymentSpec(Part, frozen=True, kw_only=True):
    """No `replicas`: the autoscaler owns them, and an apply must not reset what it chose."""

    min_ready_seconds: int
    progress_deadline_seconds: int
    revision_history_limit: int
    selector: LabelSelector
    strategy: DeploymentStrategy
    template: PodTemplateSpec


class Deployment(Resource, frozen=True, kw_only=True):
    """The pods of a release."""

    api_version: str = "apps/v1"
    kind: str = "Deployment"
    spec: DeploymentSpec


def deployment(plan: Plan) -> Deployment:
    """One new pod at a time, and an old one goes only when the new one is proven."""
    return Deployment(
        metadata=plan.metadata(),
        spec=DeploymentSpec(
            min_ready_seconds=plan.min_ready_seconds,
            progress_deadline_seconds=plan.progress_deadline,
            revision_history_limit=10,
            selector=LabelSelector(match_labels=plan.selector),
            strategy=DeploymentStrategy(type="RollingUpdate", rolling_update=_rolling(plan)),
            template=PodTemplateSpec(
                metadata=TemplateMetadata(
                    labels={**plan.labels, **fetching.labels(plan)},
                    annotations={**plan.annotations, **fetching.annotations(plan)},
                ),
                spec=pod(plan),
            ),
        ),
    )


def _rolling(plan: Plan) -> RollingUpdateDeployment:
    resources = plan.settings.resources
    if resources.gpus and not resources.spare_gpu:
        why = f"no node has {resources.gpus} GPU(s) to spare, so an old pod makes room for a new one"
        return RollingUpdateDeployment(max_surge=0, max_unavailable=Number(1, why))
    return RollingUpdateDeployment(max_surge=1, max_unavailable=0)
