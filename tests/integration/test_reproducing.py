"""A registered version made again from the registry and git, after the checkout has moved on and been moved."""

import json
import shutil
from pathlib import Path

import pytest

from pipelines import paths
from pipelines.tracking.runs import PATCH
from tests.pipeline_project import Project, make_project

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Version 1 was trained with changes that were committed nowhere, and were given up since."""
    root = tmp_path_factory.mktemp("reproducing")
    made = make_project(root / "project")
    made.set_params({"train.seed": 5})
    done = made.gan("repro")
    assert done.returncode == 0, done.stdout + done.stderr
    made.set_params({"train.seed": 6, "train.total_images": 320})
    made.git("add", "-A")
    made.git("commit", "-qm", "results, and other parameters")
    (made.root / "ganlib/networks/dcgan.py").write_text("raise RuntimeError('of later')\n")
    made.git("commit", "-qam", "later")
    made.git("checkout", "-q", "HEAD~", "--", "ganlib")  # the driver's own
    for folder in (".dvc/cache", "models", "data/processed"):
        shutil.rmtree(made.root / folder)
    made.root.rename(root / "moved")
    return Project(root / "moved")


def test_the_same_generator_comes_of_it_and_nothing_else_changes(project: Project, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    before = project.git("status", "--porcelain"), project.git("rev-parse", "HEAD")
    key, public, statement = (str(tmp_path / name) for name in ("key.pem", "public.pem", "statement.json"))
    assert project.run("openssl", "genpkey", "-algorithm", "ed25519", "-out", key).returncode == 0
    assert project.run("openssl", "pkey", "-in", key, "-pubout", "-out", public).returncode == 0
    done = project.gan("reproduce", "models:/digits@champion", "--attest", statement, GANLIB_SIGNING_KEY=key)
    assert done.returncode == 0, done.stdout + done.stderr
    verified = project.gan("reproduce", "--verify", statement, "--key", public)
    assert verified.returncode == 0, verified.stderr
    assert "models:/digits/1, generator " in verified.stdout
    assert "identical: the generator is the same, bit for bit." in verified.stdout
    assert "Identical: the generator is the same, bit for bit." in done.stdout
    assert "resumed" not in done.stdout
    assert (project.git("status", "--porcelain"), project.git("rev-parse", "HEAD")) == before
    assert not [path for path in (project.root / paths.OWN_SCRATCH / "reproductions").iterdir() if path.is_dir()]
    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    (version,) = client.search_model_versions("name = 'digits'")
    (run,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert (run.info.run_id, run.info.status) == (version.run_id, "FINISHED")
    told = json.loads(Path(client.download_artifacts(run.info.run_id, "reproductions/identical.json")).read_text())
    assert told["generator_sha256"] == [version.tags["generator_sha256"]] * 2
    assert told["data_sha256"] == [version.tags["data_sha256"]] * 2
    assert told["surroundings_that_differ"] == {}
    assert told["notes"] == []
    kept = [each.path for each in client.list_artifacts(run.info.run_id, "reproductions")]
    (signed,) = [path for path in kept if path.endswith(".dsse.json")]
    assert Path(client.download_artifacts(run.info.run_id, signed)).read_text() == Path(statement).read_text()


def test_another_generator_is_compared_as_the_gate_does(project: Project, tmp_path: Path) -> None:
    """As if the record were of another seed."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    run_id = client.get_model_version("digits", "1").run_id
    record = Path(client.download_artifacts(run_id, f"training/{PATCH}", str(tmp_path)))
    text = record.read_text()
    assert "+  seed: 5\n" in text
    record.write_text(text.replace("+  seed: 5\n", "+  seed: 7\n"))
    client.log_artifact(run_id, str(record), "training")
    done = project.gan("reproduce", "1")
    assert done.returncode in {3, 4}, done.stdout + done.stderr
    verdict = {3: "Equivalent: another generator, as good within chance", 4: "Different: another generator"}
    assert f"{verdict[done.returncode]}: domain/fid differs by" in done.stdout
    assert (project.root / ".ganlib/reproductions/digits-1/models/generator").is_dir()


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("models:/digits@best", "RUN=best: no run, alias or version"),
        ("models:/digits", "expected models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("9", "RUN=9: no run, alias or version"),
    ],
)
def test_what_is_not_registered_is_one_line(project: Project, wanted: str, told: str) -> None:
    done = project.gan("reproduce", wanted)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
