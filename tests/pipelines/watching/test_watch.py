"""When a run starts by itself: a copy has ended, an import has news, and not before."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import yaml
from dvc.repo import Repo
from PIL import Image
from prefect.settings import PREFECT_API_URL, temporary_settings

from ganlib.config import load_config
from ganlib.datasets.packed.reading import open_packed
from ganlib.errors import UserError
from pipelines import paths
from pipelines.stages import extractor
from pipelines.watching.drift import drift_of
from pipelines.watching.watch import LOCK, Options, Watcher, look, remember, remembered, watch
from tests import quiz_project
from tests.ganlib.datasets.image_files import noise_files, write_folder
from tests.toy_project import ToyProject, commit_all, make_project, processes_in, wait_until

# DVC's own, in a library it uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")
PICTURES = Path("data/raw/pictures")
QUIET_S = 0.3
GAN = [sys.executable, "-m", "pipelines.cli"]


@pytest.fixture
def project(tmp_path: Path) -> ToyProject:
    """Of which the data are a folder."""
    made = make_project(tmp_path / "project", no_scm=False)
    (made.root / PICTURES).mkdir()
    (made.root / PICTURES / "0.png").write_bytes(b"0")
    for name in ("params.yaml", "dvc.yaml"):
        text = (made.root / name).read_text().replace("data/raw/digits.zip", str(PICTURES))
        (made.root / name).write_text(text)
    (made.root / "stage.py").write_text("import sys; open(sys.argv[-1], 'w').write(repr(sys.argv))")
    (made.root / ".gitignore").write_text(f"/.ganlib/\n/*.txt\n/{PICTURES}\n")
    commit_all(made)
    (made.root / ".ganlib").mkdir()
    return made


def fill(project: ToyProject) -> None:
    """As many images, by their names, as the parameters ask for."""
    write_folder(project.root / PICTURES, {f"class{n % 2}/{n}.png": b"" for n in range(800)})


class Watched:
    """A project under watch; runs are counted and not made."""

    def __init__(self, project: ToyProject) -> None:
        self.root = project.root
        self.runs = 0
        self.said: list[str] = []
        known = remembered(self.root) or remember(self.root, look(self.root, load_config(self.root / paths.PARAMS)))
        self.watcher = Watcher(self.root, Options(0.05, QUIET_S, None), known, self._start, self.said.append)

    def _start(self) -> None:
        self.runs += 1

    def look(self, seconds: float = 3 * QUIET_S) -> int:
        """For a while, and four times at least; how many runs have begun by then."""
        until = time.monotonic() + seconds
        looks = 0
        while time.monotonic() < until or looks < 4:
            self.watcher.look_once()
            looks += 1
            time.sleep(0.05)
        return self.runs


def test_a_run_starts_when_a_copy_has_ended_and_once(project: ToyProject) -> None:
    watched = Watched(project)
    assert watched.look() == 0
    for number in range(1, 6):
        (project.root / PICTURES / f"{number}.png").write_bytes(b"%d" % number)
        time.sleep(QUIET_S / 2)
        watched.watcher.look_once()
        assert watched.runs == 0, "the copy is in progress"
    assert watched.look() == 1
    assert "5 new or changed files, 0 gone: starting a run" in watched.said
    (project.root / PICTURES / "0.png").write_bytes(b"another")
    assert watched.look() == 2
    (project.root / PICTURES / "1.png").unlink()
    assert watched.look() == 3
    assert watched.said[-1] == "0 new or changed files, 1 gone: starting a run"

    (project.root / PICTURES / "while-nobody-watched.png").write_bytes(b"6")
    again = Watched(project)
    assert again.look() == 1
    assert again.look() == 1


def test_a_server_that_is_away_is_asked_again(project: ToyProject) -> None:
    watched, tries = Watched(project), []

    def start() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise UserError("the server is away")

    known = look(project.root, load_config(project.root / paths.PARAMS))
    watcher = Watcher(project.root, Options(0.05, 0.0, None), known, start, watched.said.append)
    (project.root / PICTURES / "1.png").write_bytes(b"1")
    for _ in range(8):
        with suppress(UserError):
            watcher.look_once()
    assert len(tries) == 3
    assert watched.said.count("1 new or changed files, 0 gone: starting a run") == 1


def test_what_dvc_keeps_is_kept_before_the_run_and_what_it_imports_is_fetched(
    project: ToyProject, tmp_path: Path
) -> None:
    record = project.root / f"{PICTURES}.dvc"
    with Repo(str(project.root)) as repo:
        repo.add(str(project.root / PICTURES))
    before = record.read_text()
    watched = Watched(project)
    (project.root / PICTURES / "1.png").write_bytes(b"1")
    assert watched.look() == 1
    assert record.read_text() != before
    with Repo(str(project.root)) as repo:
        assert repo.status([str(record)]) == {}
    record.write_text(before)  # as `git pull` brings another version
    assert watched.look() == 2, watched.said
    assert watched.said[-1] == "another version of the data: starting a run"
    assert record.read_text() == before, "the folder of before is no news"

    bucket = tmp_path / "bucket"
    bucket.mkdir()
    (bucket / "a.png").write_bytes(b"a")
    with Repo(str(project.root)) as repo:
        repo.remove(str(record), outs=True)
        repo.imp_url(str(bucket), str(project.root / PICTURES))
    watched = Watched(project)
    watched.look()
    runs = watched.runs
    (bucket / "b.png").write_bytes(b"b")
    assert watched.look() == runs + 1
    assert (project.root / PICTURES / "b.png").read_bytes() == b"b"


def test_files_that_are_unlike_the_data_are_told_from_others_of_their_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "project"
    quiz_project.make_project(root)
    monkeypatch.chdir(root)
    extractor.main()
    config, data = load_config(paths.PARAMS), open_packed(paths.PROCESSED)
    files = []
    for number, pixels in enumerate(data.train.take(np.linspace(0, len(data.train) - 1, 60).astype(np.int64))):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels.squeeze()).save(files[-1])
    alike = drift_of(files, config)
    assert alike is not None
    assert alike.p_value > 0.01
    for number, content in enumerate(noise_files(60).values()):
        files[number].write_bytes(content)
    unlike = drift_of(files, config)
    assert unlike is not None
    assert unlike.p_value == 0.001
    assert drift_of(files[:10], config) is None


def test_mistakes_are_one_line(project: ToyProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(1.0, 1.0, None)
    fill(project)
    with temporary_settings({PREFECT_API_URL: None}):
        with pytest.raises(UserError, match="--drift: compares new images by data/processed, which is not there"):
            watch(project.root, Options(1.0, 1.0, 0.05), say=print)
        values = yaml.safe_load((project.root / paths.PARAMS).read_text())
        values["data"]["source"] = "data/raw/nowhere"
        (project.root / paths.PARAMS).write_text(yaml.safe_dump(values))
        with pytest.raises(UserError, match=r"data\.source=data/raw/nowhere: no such file or folder"):
            watch(project.root, options, say=print)
        alone = make_project(tmp_path / "no git")
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
        with pytest.raises(UserError, match="git tells of no commit there"):
            watch(alone.root, options, say=print)
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(UserError, match="the Prefect server does not respond"),
    ):
        watch(alone.root, options, say=print)


@pytest.mark.thorough
def test_new_files_bring_an_isolated_run_and_sigterm_ends_it_quietly(project: ToyProject) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PYTHONPATH": str(Path(__file__).resolve().parents[3]), "OMP_NUM_THREADS": "1"}
    fill(project)
    log = project.root.parent / "log"
    with log.open("wb") as file:
        watching = subprocess.Popen(
            [*GAN, "watch", "--every-s", "0.2", "--quiet-s", "1"],
            cwd=project.root,
            env=environment,
            stdout=file,
            stderr=file,
        )
    wait_until(lambda: b"watching" in log.read_bytes(), timeout_s=60, what="it watches")
    second = subprocess.run([*GAN, "watch"], cwd=project.root, env=environment, capture_output=True, text=True)
    assert second.returncode == 2
    assert f"process {watching.pid} (since" in second.stderr
    (project.root / PICTURES / "1.png").write_bytes(b"1")
    wait_until(lambda: b"its outcome is on the branch" in log.read_bytes(), timeout_s=240, what="a run has ended")
    branches = subprocess.check_output(["git", "branch", "--list", "runs/*"], cwd=project.root, text=True)
    assert branches.count("runs/") == 1
    watching.send_signal(signal.SIGTERM)
    assert watching.wait(timeout=30) == 0
    assert "Traceback" not in log.read_text()
    assert processes_in(project.root) == []
    assert (project.root / LOCK).exists()
