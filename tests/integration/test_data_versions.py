"""A person's own images under DVC: added, pushed, wiped, pulled, and more of them later."""

import shutil

import pytest
import yaml

from tests.ganlib.datasets.image_files import contents, noise_files, write_folder
from tests.pipeline_project import Project, make_project, outcomes

pytestmark = [pytest.mark.integration, pytest.mark.thorough]
COUNT, MORE = 600, 10


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose data are a folder that `gan data add` took, packed and pushed."""
    root = tmp_path_factory.mktemp("versions")
    made = make_project(root / "project")
    write_folder(root / "photos", noise_files(COUNT))
    made.set_params({"data.shard_images": 16})
    for command in (
        ["dvc", "remote", "add", "--default", "store", str(root / "store")],
        ["gan", "data", "add", str(root / "photos"), "--name", "photos"],
        ["dvc", "repro", "preprocess"],
        ["dvc", "push"],
    ):
        done = made.gan(*command[1:]) if command[0] == "gan" else made.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    made.git("add", "-A")
    made.git("commit", "-qm", "photos")
    return made


def stored(project: Project) -> dict[str, int]:
    """Files of the remote and their sizes."""
    root = project.root.parent / "store"
    return {path.relative_to(root).as_posix(): path.stat().st_size for path in root.rglob("*") if path.is_file()}


def test_the_folder_is_known_to_dvc_and_named_in_the_parameters(project: Project) -> None:
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    assert params["data"]["source"] == "data/raw/photos"
    assert (project.root / "data/raw/photos.dvc").is_file()
    assert contents(project.root / "data/raw/photos") == contents(project.root.parent / "photos")


def test_wiped_and_pulled_nothing_runs_again(project: Project) -> None:
    before = contents(project.root / "data/processed")
    for folder in (".dvc/cache", ".ganlib", "data/processed", "data/raw/photos"):
        shutil.rmtree(project.root / folder)
    pulled = project.run("dvc", "pull", "data/raw/photos.dvc", "preprocess")
    assert pulled.returncode == 0, pulled.stderr
    assert contents(project.root / "data/processed") == before
    again = project.run("dvc", "repro", "preprocess")
    assert outcomes(again.stdout) == {"preprocess": "unchanged"}, again.stdout + again.stderr


def test_more_images_push_only_what_changed(project: Project) -> None:
    before = stored(project)
    write_folder(project.root / "data/raw/photos", noise_files(MORE, first=COUNT))
    for command in (["dvc", "repro", "preprocess"], ["dvc", "push", "preprocess"]):
        done = project.run(*command)
        if command[1] == "repro":
            # Images changed behind DVC's back are said to be, and packed all the same.
            assert outcomes(done.stdout) == {"preprocess": "ran"}, done.stdout + done.stderr
        assert done.returncode == 0, done.stdout + done.stderr
    new = {name: size for name, size in stored(project).items() if name not in before}
    packed = sum(path.stat().st_size for path in (project.root / "data/processed").iterdir())
    assert 0 < sum(new.values()) < 0.2 * packed


def test_a_remote_that_breaks_is_a_failure_and_the_next_push_goes_on(project: Project) -> None:
    store = project.root.parent / "store"
    shutil.rmtree(store)
    store.write_text("not a folder")
    broken = project.run("dvc", "push", "preprocess")
    assert broken.returncode != 0
    store.unlink()
    mended = project.run("dvc", "push", "preprocess")
    assert mended.returncode == 0, mended.stderr
    assert sum(stored(project).values()) > 0
