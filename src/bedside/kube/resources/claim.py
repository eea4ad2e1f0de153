"""PersistentVolumeClaim of the audit log: one for all pods, each of which writes a folder of its own."""

from collections.abc import Mapping

from bedside.kube.objects import Part, Resource
from bedside.kube.plan import Plan

SUFFIX = "-audit"


class VolumeResourceRequirements(Part, frozen=True, kw_only=True):
    """How much."""

    requests: Mapping[str, str]


class PersistentVolumeClaimSpec(Part, frozen=True, kw_only=True):
    """What kind of volume."""

    access_modes: tuple[str, ...]
    storage_class_name: str | None = None
    resources: VolumeResourceRequirements


class PersistentVolumeClaim(Resource, frozen=True, kw_only=True):
    """Space that outlives the pods."""

    api_version: str = "v1"
    kind: str = "PersistentVolumeClaim"
    spec: PersistentVolumeClaimSpec


def audit_claim(plan: Plan) -> PersistentVolumeClaim:
    """The record of what carers were told about patients: deleting it is a person's decision, never a rollout's."""
    volume = plan.settings.audit_volume
    return PersistentVolumeClaim(
        metadata=plan.metadata(SUFFIX),
        spec=PersistentVolumeClaimSpec(
            access_modes=(volume.access,),
            storage_class_name=volume.storage_class,
            resources=VolumeResourceRequirements(requests={"storage": volume.size}),
        ),
    )
