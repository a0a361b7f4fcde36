"""The digests that runs and versions carry."""

from pathlib import Path

from ganlib.datasets.packed.reading import open_packed
from pipelines.tracking.lineage import content_tags
from tests.configs import tiny_config
from tests.quiz_project import make_project


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
