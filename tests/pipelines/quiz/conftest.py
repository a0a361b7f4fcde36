"""The project of a quiz: made once, and a working directory of its own for each test that writes."""

import shutil
from pathlib import Path

import pytest

from pipelines.quiz.answers import Opening
from tests.quiz_project import make_project


@pytest.fixture(scope="session")
def quiz_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("quiz") / "project"
    make_project(root)
    return root


@pytest.fixture
def quiz_project(quiz_template: Path, project: Path) -> Path:
    """The working directory, with a store of its own."""
    shutil.copytree(quiz_template, project, dirs_exist_ok=True)
    return project


@pytest.fixture
def opening() -> Opening:
    return Opening(
        started="20240131T120000Z",
        experiment="quizzes",
        generator_sha256="ab" * 32,
        seen_images=640,
        images_per_person=4,
        exposure_ms=0,
        seed=0,
        confidence=0.95,
    )
