"""The digests that runs and versions carry."""

from pathlib import Path

import yaml

from ganlib.datasets.packed.reading import open_packed
from pipelines import paths
from pipelines.tracking.lineage import content_tags, origin
from pipelines.tracking.runs import TRAINING_ARTIFACTS
from tests.configs import tiny_config, tiny_values
from tests.quiz_project import make_project
from tests.tracking_runs import training


def test_parameters_that_change_a_result_change_the_digest(tmp_path: Path) -> None:
    make_project(tmp_path / "project")
    data = open_packed(tmp_path / "project" / "data" / "processed")

    def digest(name: str | None = None, value: object = None) -> str:
        changes = {} if name is None else {name: value}
        return content_tags(tiny_config(changes), data)["params_sha256"]

    plain = digest()
    for name, value in (
        ("augmentation.mirror", True),
        ("train.seed", 9),
        ("evaluate.seed", 9),
        ("network.latent_dim", 9),
    ):
        assert digest(name, value) != plain, name
    for name, value in (("flow.retries", 7), ("register.margin", 0.7), ("tracking.experiment", "another")):
        assert digest(name, value) == plain, name


def test_a_generator_is_described_by_what_its_own_run_recorded(project: Path, tmp_path: Path) -> None:
    """The parameters, the commit and the files are others by the time it is registered."""
    make_project(tmp_path / "packed")
    data = open_packed(tmp_path / "packed" / "data" / "processed")
    then, now = (tiny_config({"train.seed": seed, "tracking.experiment": "tests"}) for seed in (40, 41))
    paths.PARAMS.write_text(yaml.safe_dump(tiny_values({"train.seed": 40, "tracking.experiment": "tests"})))
    made_at = {"mlflow.source.git.commit": "c0ffee", "ganlib.git_dirty": "true"}
    with training("k1", tags=content_tags(then, data) | made_at) as log:
        log.artifact(paths.PARAMS, TRAINING_ARTIFACTS)
        log.tags({"generator_sha256": "a" * 64})
    paths.PARAMS.write_text(yaml.safe_dump(tiny_values({"train.seed": 41, "tracking.experiment": "tests"})))
    found = origin(now, data, "a" * 64)
    assert found.config == then
    assert found.tags == content_tags(then, data) | {"git_commit": "c0ffee", "git_dirty": "true"}
    # Out of DVC's cache, beside a store that has never seen it: DVC has compared the parameters, and nobody the commit.
    restored = origin(now, data, "b" * 64)
    assert restored.config == now
    assert restored.tags == content_tags(now, data)
