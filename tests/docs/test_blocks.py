"""Every command that README and guides tell readers to type: it exists, and it works."""

import shlex
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from pipelines.cli import app
from tests.configs import ROOT
from tests.documents import SHELL, Block, blocks, documents, script
from tests.pipeline_project import Project, make_project

KINDS = {*SHELL, "bibtex", "diff", "html", "python", "text", "yaml"}
EXCUSES = {
    "installs the environment or runs the test suite",
    "its exit code depends on the machine",
    "needs a bucket",
    "needs a container engine",
    "needs a database server",
    "needs a failed run",
    "needs a Prefect server",
    "needs an MLflow server",
    "needs an MLflow server with accounts",
    "needs a translator",
    "needs several GPUs",
    "needs several machines",
    "serves until it is stopped",
    "takes minutes",
    "tests/pipelines/registry/test_examples.py runs it",
}
MOST_EXCUSED = 22  # but for servers, of which nearly every command needs one
# Their commands look at data or parameters only.
QUICK = ("docs/own_images.md", "docs/recipes.md", "docs/troubleshooting.md")
IMAGES_PER_CLASS = 150


def shell_blocks() -> dict[str, list[Block]]:
    """Of each document that has any."""
    found = {name: [b for b in blocks(name, text) if b.kind in SHELL] for name, text in documents().items()}
    return {name: each for name, each in found.items() if each}


def run_here(name: str) -> bool:
    return any(block.excuse is None for block in shell_blocks()[name])


def test_blocks_have_a_language_and_few_are_not_run() -> None:
    every = [block for name, text in documents().items() for block in blocks(name, text)]
    assert {block.place: block.kind for block in every if block.kind not in KINDS} == {}
    excused = [block for block in every if block.excuse is not None]
    assert {block.place: block.excuse for block in excused if block.excuse not in EXCUSES} == {}
    assert len([block for block in excused if not block.place.startswith("docs/deploy/")]) <= MOST_EXCUSED
    markers = sum(text.count("<!-- not run:") for text in documents().values())
    assert markers == len(excused), "a marker stands right above its block"


def gan_commands() -> Iterator[tuple[str, list[str]]]:
    for name, text in documents().items():
        for block in blocks(name, text):
            lines = [line for line in block.commands.splitlines() if block.kind in SHELL and "gan " in line]
            for words in (shlex.split(line, comments=True) for line in lines):
                for start in (place for place, word in enumerate(words) if word == "gan"):
                    rest = words[start + 1 :]
                    yield block.place, rest[: rest.index("&&")] if "&&" in rest else rest


def test_commands_and_options_of_gan_exist() -> None:
    commands = list(gan_commands())
    assert len(commands) > 20
    for place, words in commands:
        command, context = typer.main.get_command(app), None
        while hasattr(command, "commands"):
            name, *words = words
            assert name in command.commands, place
            command = command.commands[name]
        # Raises for an unknown option, a missing argument or a value out of range; runs nothing.
        context = command.make_context(place, words)
        assert context is not None


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """What a user has after a clone and `make run`, but for the results; the environment is this one."""
    made = make_project(tmp_path_factory.mktemp("documents") / "project")
    environment = made.root / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/activate").write_text(f"export PATH={shlex.quote(made.environment['PATH'])}\n")
    for mark in (".installed", ".installed-check"):
        (environment / mark).touch()
    return made


@pytest.fixture(scope="module")
def trained(project: Project) -> Project:
    done = project.run("make", "run", timeout_s=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def furnished(folder: Path) -> Path:
    """A home with a drawing, images of two classes in `photos`, and more of one of them in `new_photos`."""
    with zipfile.ZipFile(ROOT / "data/raw/digits.zip") as digits:
        names = sorted(name for name in digits.namelist() if name.endswith(".png"))
        folder.mkdir()
        (folder / "drawing.png").write_bytes(digits.read(names[0]))
        for digit, label in (("3", "cats"), ("8", "dogs")):
            chosen = [name for name in names if Path(name).parent.name == digit]
            for place, name in enumerate(chosen[: IMAGES_PER_CLASS + 5]):
                target = folder / ("photos" if place < IMAGES_PER_CLASS else "new_photos")
                target = target / label if place < IMAGES_PER_CLASS else target
                target.mkdir(parents=True, exist_ok=True)
                if place < IMAGES_PER_CLASS or label == "cats":
                    (target / f"{digit}-{place}.png").write_bytes(digits.read(name))
    return folder


def run_blocks(name: str, project: Project, home: Path) -> None:
    who = {f"GIT_{role}_{key}": "t@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    done = project.run("bash", "-c", script(shell_blocks()[name]), timeout_s=900, HOME=str(home), **who)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.mark.integration
@pytest.mark.parametrize("name", [pytest.param(QUICK[0], marks=pytest.mark.thorough), *QUICK[1:]])
def test_quick_blocks_run(name: str, project: Project, tmp_path: Path) -> None:
    copy = Project(tmp_path / "project")
    shutil.copytree(project.root, copy.root, symlinks=True)
    run_blocks(name, copy, furnished(tmp_path / "home"))


@pytest.mark.integration
@pytest.mark.thorough
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", [name for name in shell_blocks() if name not in QUICK and run_here(name)])
def test_blocks_run_after_a_first_run(name: str, trained: Project, tmp_path: Path) -> None:
    """In one project, as a reader goes through the pages: what one page has trained, the next finds in the cache."""
    run_blocks(name, trained, furnished(tmp_path / "home"))
