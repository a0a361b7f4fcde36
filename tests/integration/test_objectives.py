"""What is no plain GAN goes through the same five stages, and a killed training of it resumes to the same bits."""

import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
import yaml

from ganlib.evaluation.record import Evaluation
from ganlib.packaging import load_encoder, read_description
from pipelines import paths
from pipelines.registry.verdict import Registration
from tests.configs import PAIRED, STYLES, UNPAIRED, VAE
from tests.pipeline_project import STAGES, Project, make_project, outcomes

pytestmark = [pytest.mark.integration, pytest.mark.thorough]

NO_GUARDS = {"register.guards.label_fidelity_drop": None, "register.guards.worst_class_rise": None}
OBJECTIVES = {
    "vae": VAE,
    "paired": PAIRED | NO_GUARDS,
    "unpaired": UNPAIRED | NO_GUARDS,
    "styles": STYLES | NO_GUARDS,
}
WAYS = {"cyclegan": 2, "stargan": 4}


@pytest.fixture(scope="module", params=OBJECTIVES)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = make_project(tmp_path_factory.mktemp("objectives") / "project")
    changes: dict[str, Any] = OBJECTIVES[request.param]
    made.set_params(changes)
    done = made.gan("repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(done.stdout) == dict.fromkeys(STAGES, "ran")
    return made


def test_all_stages_speak_of_what_was_made(project: Project) -> None:
    evaluation = Evaluation.read(project.root / paths.EVALUATION)
    page = (project.root / paths.REPORT).read_text(encoding="utf-8")
    card = (project.root / paths.MODEL_CARD).read_text(encoding="utf-8")
    assert Registration.read(project.root / paths.REGISTRATION).verdict.promoted is True
    assert "domain/fid" in evaluation.metrics
    ways = WAYS.get(read_description(project.root / paths.GENERATOR).network.family, 0)
    translates = read_description(project.root / paths.GENERATOR).inputs is not None
    assert (evaluation.translation is not None) == translates
    if translates:
        assert evaluation.translation is not None
        assert evaluation.translation.images == 543
        for chapter in ("Classes, worst first", "Copies of training images", "Latent space"):
            assert chapter not in page
        assert "Translations beside their inputs" in card
        assert "pipeline_tag: image-to-image" in card
        assert ("Each way, and there and back" in page) == ("learned without pairs" in card) == (ways > 0)
        assert len(evaluation.translation.ways) == ways
    else:
        assert load_encoder(project.root / paths.GENERATOR) is not None
        assert "Evidence bound" in page
        assert "Rejection by the critic" not in page
        assert "variational autoencoder" in card


def test_a_killed_training_resumes_to_the_same_generator(project: Project) -> None:
    wanted, checkpoints = project.generator_hash(), project.root / paths.CHECKPOINTS
    shutil.rmtree(checkpoints)
    command = (sys.executable, "-m", "pipelines.stages.train")
    training = subprocess.Popen(command, cwd=project.root, env=project.environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("*/0*/manifest.json")):
        assert time.monotonic() < deadline, "no checkpoint was written"
        assert training.poll() is None
        time.sleep(0.01)
    training.send_signal(signal.SIGKILL)
    training.wait(timeout=60)
    shutil.rmtree(project.root / paths.GENERATOR)
    done = project.run(*command)
    assert done.returncode == 0, done.stderr
    assert "resumed at" in done.stdout + done.stderr
    assert project.generator_hash() == wanted


def test_the_next_one_meets_the_champion(project: Project) -> None:
    values = yaml.safe_load((project.root / paths.PARAMS).read_text(encoding="utf-8"))
    values["train"]["seed"] += 1
    (project.root / paths.PARAMS).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    done = project.gan("repro")
    assert done.returncode == 0, done.stdout + done.stderr
    decision = Registration.read(project.root / paths.REGISTRATION)
    assert (decision.version, decision.champion_version) == ("2", "1")
    row = decision.verdict.table[0]
    assert row.champion is not None
    assert row.challenger != row.champion
