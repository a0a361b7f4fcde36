"""The `gan` command in this process: what it says and how it ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
import yaml

from ganlib.config import DcganOptions, ImageSpec
from ganlib.networks import build_generator
from ganlib.packaging import ImageGenerator
from pipelines import cli, paths
from tests.toy_project import STAGES, ToyProject, make_project

# DVC's own, in a library it uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ToyProject:
    project = make_project(tmp_path / "project")
    monkeypatch.chdir(project.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return project


class Gan:
    """Runs the command; gives exit code, standard output and standard error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> tuple[object, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["gan", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = self._capsys.readouterr()
        return caught.value.code, out, err


@pytest.fixture
def gan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gan:
    return Gan(monkeypatch, capsys)


def make_generator(folder: Path) -> None:
    network = DcganOptions(
        family="dcgan", conditional=False, latent_dim=8, generator_width=4, generator_stem="normed",
        generator_spectral_norm=False, generator_excitation=False,
        upsampling="transposed", critic_width=4, critic_norm="none",
        critic_convolutions=1, critic_pooling="none", critic_dropout=0.0, critic_pretrained=None,
        conditional_batch_norm=False, projection=False,
    )  # fmt: skip
    image = ImageSpec(size=16, channels=1, classes=())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ImageGenerator(build_generator(network, image), network, image, {"seen_images": 1}).save(folder)


def set_params(project: ToyProject, section: str, **values: object) -> None:
    file = project.root / "params.yaml"
    params = yaml.safe_load(file.read_text())
    params[section] |= values
    file.write_text(yaml.safe_dump(params))


def test_a_whole_run_says_what_it_did_and_a_second_one_that_nothing_is_to_do(project: ToyProject, gan: Gan) -> None:
    assert gan("check") == (0, "params.yaml: valid\n", "")
    code, out, err = gan("repro")
    assert (code, err) == (0, "")
    assert all((project.root / f"{name}.txt").exists() for name in STAGES)
    code, out, err = gan("repro")
    assert (code, err) == (0, "")
    assert "Nothing has changed since the last run" in out


def test_a_schedule_that_the_run_cuts_off_is_told(project: ToyProject, gan: Gan) -> None:
    rate = {"shape": "linear", "start": 1e-3, "end": 0.0, "over_images": 1000, "warmup_images": 0}
    params = yaml.safe_load((project.root / "params.yaml").read_text())["train"]
    set_params(
        project, "train", total_images=500, critic_optimizer=params["critic_optimizer"] | {"learning_rate": rate}
    )
    code, out, err = gan("check")
    assert (code, err) == (0, "")
    told, verdict = out.splitlines()
    assert told.startswith("params.yaml: train.total_images=500 ends before these schedules do: ")
    assert verdict == "params.yaml: valid"


def test_every_mistake_in_the_parameters_is_a_line_of_its_own(project: ToyProject, gan: Gan) -> None:
    set_params(project, "data", channels=2, image_size=17)
    for command in ("check", "repro"):
        code, out, err = gan(command)
        assert (code, out) == (2, "")
        lines = err.splitlines()
        assert len(lines) == 2
        assert all(line.startswith("error: ") and "params.yaml: data." in line for line in lines)


@pytest.mark.parametrize("command", ["check", "repro"])
def test_the_stages_timeouts_are_checked(command: str, project: ToyProject, gan: Gan) -> None:
    set_params(project, "flow", timeout_s=dict.fromkeys(STAGES[1:], 60))
    code, _, err = gan(command)
    assert code == 2
    assert err.startswith("error: params.yaml: flow.timeout_s.preprocess: missing")
    assert err.count("\n") == 1


@pytest.mark.parametrize("stage", ["{outs: [b]}", "{cmd: x, deps: [b], outs: [b]}", "{cmd: x, typo: [b]}"])
def test_a_broken_graph_is_one_line(stage: str, project: ToyProject, gan: Gan) -> None:
    set_params(project, "flow", timeout_s={"a": 60})
    (project.root / "dvc.yaml").write_text(f"stages: {{a: {stage}}}")
    code, out, err = gan("repro")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "dvc.yaml" in err
    assert err.count("\n") == 1


def test_a_lost_registry_is_told(project: ToyProject, gan: Gan) -> None:
    (project.root / "reports").mkdir()
    (project.root / paths.REGISTRATION).write_text('{"reason": "First champion."}')
    code, out, _ = gan("repro")
    assert code == 0
    assert "mlflow.db does not exist" in out
    assert not (project.root / paths.REGISTRATION).exists()


def test_a_file_in_the_way_is_one_line(project: ToyProject, gan: Gan) -> None:
    (project.root / ".ganlib").write_text("")
    code, _, err = gan("repro")
    assert code == 2
    assert err.startswith("error: gan repro: ")
    assert "(" in err
    assert ".ganlib" in err
    assert err.count("\n") == 1


def test_samples_are_drawn_and_a_folder_in_their_place_is_one_line(project: ToyProject, gan: Gan) -> None:
    make_generator(project.root / paths.GENERATOR)
    assert gan("sample", "--count", "4")[0] == 0
    assert (project.root / "samples.png").exists()
    (project.root / "taken").mkdir()
    code, out, err = gan("sample", "--count", "4", "--output", "taken")
    assert (code, out) == (2, "")
    assert err == "error: gan sample: Is a directory (taken)\n"


def test_pictures_are_png_files_and_latents_are_not_scaled_to_nothing(project: ToyProject, gan: Gan) -> None:
    make_generator(project.root / paths.GENERATOR)
    told = "a PNG file is written; expected a name that ends in .png"
    assert gan("sample", "--output", "some.jpg") == (2, "", f"error: --output some.jpg: {told}\n")
    assert gan("judge", "a.png", "--picture", "some.jpg") == (2, "", f"error: --picture some.jpg: {told}\n")
    assert gan("sample", "--truncation", "0")[2] == (
        "error: truncation: found 0.0, expected a number above 0 and at most 1\n"
    )
    assert not list(project.root.glob("some*"))


def test_a_label_of_no_class_is_one_line(project: ToyProject, gan: Gan) -> None:
    make_generator(project.root / paths.GENERATOR)
    assert gan("sample", "--label", "seven") == (2, "", "error: --label seven: unknown, expected one of none\n")


def test_a_schedule_needs_a_time(project: ToyProject, gan: Gan) -> None:
    code, _, err = gan("schedule")
    assert code == 2
    assert err.startswith("error: --cron: missing")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("pipelines.cli", "torch scipy mlflow prefect dvc numpy"),
        ("pipelines.flows.schedule", "torch scipy mlflow dvc"),
        ("pipelines.preflight, pipelines.registry.presence, pipelines.summary", "torch scipy mlflow prefect dvc"),
    ],
)
def test_commands_start_without_libraries_that_they_do_not_need(module: str, heavy: str) -> None:
    code = f"import sys, {module}; print([name for name in '{heavy}'.split() if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_help_needs_no_heavy_library_and_tells_each_command_in_a_whole_line() -> None:
    heavy = "torch scipy mlflow prefect dvc numpy pydantic yaml PIL rich.console rich.markdown"
    code = (
        "import atexit, sys; from pipelines.cli import main; sys.argv = ['gan', '--help']\n"
        f"atexit.register(lambda: print([name for name in '{heavy}'.split() if name in sys.modules]))\nmain()"
    )
    narrow = os.environ | {"COLUMNS": "80"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=narrow)
    *shown, loaded = found.stdout.splitlines()
    assert loaded == "[]"
    commands = shown[shown.index("Commands:") + 1 :]
    assert len(commands) == len(vars(typer.main.get_command(cli.app))["commands"])
    assert all(line.endswith(".") and not line.endswith("..") for line in commands)
