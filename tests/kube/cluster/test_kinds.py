"""Every kind that is rendered can be applied."""

from pathlib import Path

import pytest
from tests.kube import projects
from tests.kube.test_published import CHANGES
from tests.kube.test_tree import SETTINGS

from bedside.kube.cluster.kinds import KEPT, KINDS, named
from bedside.kube.tree import objects
from bedside.stages.manifests import plans


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_deploy_knows_where_each_rendered_object_belongs(settings: str, tmp_path: Path) -> None:
    release = projects.make(tmp_path, SETTINGS[settings], **CHANGES.get(settings, {}))
    for item in objects(plans(release, projects.IMAGE)[0]):
        what = named(item.plain())
        assert what.kind.api_version == item.api_version
        assert (what.namespace is not None) == what.kind.namespaced
        assert what.path.endswith(f"/{what.kind.resource}/{item.metadata.name}")


def test_what_is_never_deleted_is_a_kind() -> None:
    assert KINDS.keys() >= KEPT
