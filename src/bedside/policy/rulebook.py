"""The one list of all rules, and how they are applied to a picture. Nothing registers itself."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from bedside.findings import Finding, Severity
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.rules import (
    agreement,
    answers,
    clinical,
    cluster,
    contents,
    credentials,
    dependencies,
    entries,
    image,
    listening,
    loose_ends,
    mounted_files,
    node,
    pipeline,
    pod_security,
    powers,
    references,
    refusals,
    schema,
    serving,
    shipping,
    workflow_form,
    workloads,
)

Check = Callable[[Picture], Iterable[Hit]]

CHECKS: Final[Mapping[str, Check]] = {
    "BED-REF-001": references.service_accounts,
    "BED-REF-002": references.claims,
    "BED-REF-003": references.config_maps,
    "BED-REF-004": references.secrets,
    "BED-REF-005": references.namespaces,
    "BED-REF-006": references.route_backends,
    "BED-REF-007": references.priority_classes,
    "BED-REF-008": references.scale_targets,
    "BED-REF-009": references.service_selectors,
    "BED-REF-010": references.workload_selectors,
    "BED-REF-011": references.budget_selectors,
    "BED-REF-012": references.policy_selectors,
    "BED-REF-013": references.monitor_selectors,
    "BED-REF-014": references.volume_mounts,
    "BED-REF-015": references.duplicates,
    "BED-REF-016": agreement.probe_paths,
    "BED-REF-017": agreement.probe_ports,
    "BED-REF-018": agreement.service_ports,
    "BED-REF-019": agreement.ingress_paths,
    "BED-REF-020": agreement.scrape_paths,
    "BED-REF-021": listening.listening_port,
    "BED-REF-022": agreement.users,
    "BED-REF-023": agreement.versions,
    "BED-REF-024": agreement.replicas_beside_autoscaler,
    "BED-REF-025": agreement.budget_against_replicas,
    "BED-REF-026": agreement.startup_budget,
    "BED-REF-027": agreement.grace_period,
    "BED-REF-028": agreement.required_variables,
    "BED-REF-029": shipping.repository_mismatch,
    "BED-REF-030": shipping.uncreated_repository,
    "BED-REF-031": references.unlisted,
    "BED-REF-032": loose_ends.missing_files,
    "BED-REF-033": loose_ends.unmounted_volumes,
    "BED-REF-034": loose_ends.unused,
    "BED-REF-035": contents.paths_in_image,
    "BED-REF-037": references.classes,
    "BED-REF-038": references.bindings,
    "BED-REF-039": listening.listening_address,
    "BED-REF-040": mounted_files.unmounted_reads,
    "BED-REF-041": listening.scraped_port,
    "BED-IMG-001": image.base_by_digest,
    "BED-IMG-002": image.root_user,
    "BED-IMG-003": image.named_user,
    "BED-IMG-004": image.writable_application,
    "BED-IMG-005": image.recursive_chown,
    "BED-IMG-006": image.world_writable,
    "BED-IMG-007": image.interpreter_mismatch,
    "BED-IMG-008": image.old_python,
    "BED-IMG-009": image.tools_in_final,
    "BED-IMG-010": image.shell_form,
    "BED-IMG-011": image.healthcheck,
    "BED-IMG-012": image.cuda_without_gpu,
    "BED-IMG-013": image.ignore_file,
    "BED-IMG-014": image.leaky_ignore,
    "BED-IMG-015": image.copied_secrets,
    "BED-IMG-016": image.copied_data,
    "BED-IMG-017": image.workers,
    "BED-IMG-018": image.remote_add,
    "BED-IMG-019": image.debug_server,
    "BED-IMG-020": shipping.unbuilt_dockerfile,
    "BED-IMG-021": contents.unbuildable,
    "BED-IMG-022": contents.excluded_copies,
    "BED-IMG-023": contents.missing_sources,
    "BED-IMG-024": contents.not_started,
    "BED-IMG-025": image.installer_in_final,
    "BED-DEP-001": dependencies.unpinned,
    "BED-DEP-002": dependencies.unhashed,
    "BED-DEP-003": dependencies.incomplete,
    "BED-DEP-004": dependencies.blocked_fix,
    "BED-DEP-005": dependencies.contract_mismatch,
    "BED-DEP-006": dependencies.disagreeing_pins,
    "BED-DEP-007": dependencies.stale_lock,
    "BED-DEP-008": dependencies.foreign_index,
    "BED-DEP-009": dependencies.moving_source,
    "BED-DEP-010": dependencies.development_tools,
    "BED-DEP-011": dependencies.undeclared,
    "BED-POD-001": pod_security.host_process,
    "BED-POD-002": pod_security.host_namespaces,
    "BED-POD-003": pod_security.privileged,
    "BED-POD-004": pod_security.capabilities,
    "BED-POD-005": pod_security.volume_types,
    "BED-POD-006": pod_security.host_path,
    "BED-POD-007": pod_security.host_ports,
    "BED-POD-008": pod_security.host_probes,
    "BED-POD-009": pod_security.app_armor,
    "BED-POD-010": pod_security.selinux,
    "BED-POD-011": pod_security.proc_mount,
    "BED-POD-012": pod_security.sysctls,
    "BED-POD-013": pod_security.privilege_escalation,
    "BED-POD-014": pod_security.run_as_non_root,
    "BED-POD-015": pod_security.run_as_user,
    "BED-POD-016": pod_security.seccomp,
    "BED-K8S-001": cluster.namespace_level,
    "BED-K8S-002": workloads.token_automount,
    "BED-K8S-003": workloads.read_only_root,
    "BED-K8S-004": workloads.writable_directory,
    "BED-K8S-005": workloads.sized_scratch,
    "BED-K8S-006": workloads.requests,
    "BED-K8S-007": workloads.memory_limit,
    "BED-K8S-008": workloads.promised_class,
    "BED-K8S-009": workloads.threads,
    "BED-K8S-010": workloads.single_replica,
    "BED-K8S-011": workloads.spread,
    "BED-K8S-012": workloads.disruption_budget,
    "BED-K8S-013": workloads.readiness_probe,
    "BED-K8S-014": workloads.liveness_probe,
    "BED-K8S-015": workloads.liveness_is_readiness,
    "BED-K8S-016": workloads.slow_start,
    "BED-K8S-017": workloads.pre_stop,
    "BED-K8S-018": workloads.rollout_gap,
    "BED-K8S-019": workloads.shared_claim,
    "BED-K8S-020": workloads.gpu,
    "BED-K8S-021": workloads.version_in_selector,
    "BED-K8S-022": workloads.version_outside_template,
    "BED-K8S-023": workloads.history,
    "BED-K8S-024": workloads.image_digest,
    "BED-K8S-025": credentials.secret_values,
    "BED-K8S-026": credentials.secret_objects,
    "BED-K8S-027": cluster.network_ingress,
    "BED-K8S-028": cluster.network_egress,
    "BED-K8S-029": cluster.unknown_annotations,
    "BED-K8S-030": cluster.retired,
    "BED-K8S-031": cluster.retired_controllers,
    "BED-K8S-032": cluster.legacy_class,
    "BED-K8S-033": cluster.entry_tls,
    "BED-K8S-034": cluster.clear_inside,
    "BED-K8S-035": cluster.open_everything,
    "BED-K8S-036": cluster.node_port,
    "BED-K8S-037": cluster.autoscaler_metric,
    "BED-K8S-038": cluster.autoscaler_bounds,
    "BED-K8S-039": powers.wildcard_role,
    "BED-K8S-040": schema.violations,
    "BED-K8S-041": refusals.refused,
    "BED-K8S-042": loose_ends.homeless,
    "BED-K8S-043": loose_ends.closed_to_entry,
    "BED-K8S-044": loose_ends.unwritable_volume,
    "BED-K8S-045": loose_ends.empty_variables,
    "BED-K8S-046": node.every_core,
    "BED-K8S-047": node.low_ids,
    "BED-K8S-048": node.root_group,
    "BED-K8S-049": entries.among_the_clusters_own,
    "BED-K8S-050": powers.needless_powers,
    "BED-K8S-051": powers.open_bindings,
    "BED-K8S-052": entries.external_addresses,
    "BED-K8S-053": node.low_ports,
    "BED-K8S-054": entries.snippets,
    "BED-K8S-055": node.host_aliases,
    "BED-APP-001": serving.tuple_status,
    "BED-APP-002": serving.zero_self_test,
    "BED-APP-003": serving.exception_text,
    "BED-APP-004": serving.blocking_load,
    "BED-APP-005": serving.silent_hooks,
    "BED-APP-006": serving.blocked_liveness,
    "BED-APP-007": serving.unverified_load,
    "BED-APP-008": clinical.patient_in_url,
    "BED-APP-009": clinical.patient_in_logs,
    "BED-APP-010": serving.open_docs,
    "BED-APP-011": serving.no_authentication,
    "BED-APP-012": serving.any_origin,
    "BED-APP-013": clinical.invented_answer,
    "BED-APP-014": clinical.silent_imputation,
    "BED-APP-015": clinical.default_measurement,
    "BED-APP-016": clinical.unbounded_measurement,
    "BED-APP-017": answers.always_ready,
    "BED-APP-018": answers.status_in_body,
    "BED-CI-001": pipeline.pinned_actions,
    "BED-CI-002": pipeline.injection,
    "BED-CI-003": pipeline.permissions,
    "BED-CI-004": pipeline.missing_credentials,
    "BED-CI-005": pipeline.powerless_gate,
    "BED-CI-006": pipeline.dropped_filter,
    "BED-CI-007": pipeline.skipped_audit,
    "BED-CI-008": shipping.scan_after_push,
    "BED-CI-009": shipping.never_scanned,
    "BED-CI-010": shipping.other_image_scanned,
    "BED-CI-011": shipping.no_sbom,
    "BED-CI-012": shipping.no_signature,
    "BED-CI-013": pipeline.unchecked_tag,
    "BED-CI-014": pipeline.untrusted_checkout,
    "BED-CI-015": pipeline.secrets_in_clear,
    "BED-CI-016": pipeline.deploy_by_tag,
    "BED-CI-017": workflow_form.refused,
    "BED-CI-018": workflow_form.undefined_names,
    "BED-CI-019": workflow_form.identity,
    "BED-CI-020": workflow_form.missing_inputs,
    "BED-CI-021": workflow_form.impossible_order,
    "BED-CI-022": pipeline.moving_job_images,
    "BED-CI-023": shipping.built_again,
}
"""Every rule over the picture, by its stable id; an id is never given to another rule."""

OF_READING: Final[Mapping[str, str]] = {
    "BED-INP-001": "What cannot be parsed is not checked, and the tools that use it will fail or guess.",
    "BED-INP-002": "A check that looked at nothing must not pass.",
    "BED-INP-003": "What was not read was not checked.",
    "BED-INP-004": "A Helm template is YAML only once it is rendered.",
    "BED-INP-005": "A suppression without a rule, a reason and an end is a hole that nobody remembers.",
    "BED-INP-006": "Its date has passed: what was accepted for a time is not accepted any more.",
    "BED-INP-007": "What a missing tool would have found was not looked for.",
    "BED-INP-008": "YAML readers keep the last one and say nothing.",
    "BED-INP-010": "What has no kind is nothing to the API server, and no other rule looked at it.",
    "BED-INP-009": "What it covered is gone, or stands elsewhere by now.",
    "BED-INP-011": "A program, a remote base or a copied value changes what is applied, and no rule looked at that.",
    "BED-INP-012": "It says neither why nor for how long, and nobody comes back to it.",
    "BED-INP-013": "The tool's finding stands here, whatever its own comment or file says.",
    "BED-INP-014": "The rules here look at them, and at more; what only trivy looks for was not looked for.",
    "BED-REF-036": "The safeguard that a patch adds is nowhere, or nothing can be built at all.",
}
"""Rules that reading and suppressing raise themselves, each with its reason."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a rule is: its texts, and the stock tools' ids for the same thing."""

    id: str
    title: str
    severity: Severity
    reason: str
    remedy: str
    same_as: frozenset[str]


@cache
def rules() -> Mapping[str, Rule]:
    """Every rule by its id, in the order of the list above."""
    texts = tomllib.loads((files("bedside.policy") / "data" / "rules.toml").read_text())
    reasons = {name: (check.__doc__ or "").splitlines()[0].replace("``", "`") for name, check in CHECKS.items()} | dict(
        OF_READING
    )
    return {
        name: Rule(
            name,
            texts[name]["title"],
            Severity(texts[name]["severity"]),
            reason,
            texts[name]["remedy"],
            frozenset(texts[name].get("same_as", ())),
        )
        for name, reason in reasons.items()
    }


def finding(rule: str, hit: Hit) -> Finding:
    """A hit with its rule's severity and remedy."""
    known = rules()[rule]
    return Finding(
        rule=rule,
        severity=known.severity,
        message=hit.message,
        remedy=known.remedy,
        file=hit.place.file,
        line=hit.place.line,
        end=hit.place.end,
    )


def judge(picture: Picture) -> list[Finding]:
    """Apply every rule; each place once a rule and message, by file and line."""
    found = {finding(name, hit) for name, check in CHECKS.items() for hit in check(picture)}
    found |= {finding(name, hit) for name, hit in picture.problems}
    return sorted(found, key=lambda item: (item.file, item.line, item.rule, item.message))
