"""The interpreter, its packages, and the variables of the environment."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import pipelines
from pipelines import environment
from pipelines.doctor.finding import Finding
from pipelines.tracking.store import redact

PACKAGE = "ganlib"
PYPROJECT, CONSTRAINTS = Path("pyproject.toml"), Path("constraints.txt")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)")
# What these are about decides results, places or contacts.
_TELLING = re.compile(
    r"(MLFLOW|PREFECT|DVC|GANLIB)_.+|(HTTPS?|ALL|NO)_PROXY|CUDA_VISIBLE_DEVICES|\w+_NUM_THREADS", re.I
)
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|HEADER|USER|NOTIFY", re.I)
_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def versions(project: Path) -> Iterator[Finding]:
    """Python and the packages against what is required, and against what was tested."""
    install = f"install with `pip install --constraint {CONSTRAINTS} --editable .`"
    python, needed = _required(project)
    if Version(platform.python_version()) not in python:
        yield Finding(f"Python {platform.python_version()}, expected {python}; use another", well=False)
    misfits = 0
    for requirement in needed:
        found = _installed(requirement.name)
        if found is None or found not in requirement.specifier:
            misfits += 1
            told = f"{requirement.name}: found {found or 'none'}, expected {requirement.specifier}; {install}"
            yield Finding(told, well=False)
    if misfits:
        return
    tested = _tested(project)
    others = [
        f"{name} {found} ({tested[name]})"
        for requirement in needed
        if (name := _normal(requirement.name)) in tested
        and (found := _installed(name)) is not None
        and found.public != tested[name]
    ]
    than = f"; other than tested (in brackets): {', '.join(others)}" if others else ""
    yield Finding(f"Python {platform.python_version()} and {len(needed)} packages as required{than}")


def installation(project: Path) -> Iterator[Finding]:
    """Whether this command, the project and `python` belong together."""
    activate = "activate the project's environment: `. .venv/bin/activate`"
    if line := environment.other_code(project):
        yield Finding(line, well=False)
        return
    found = shutil.which("python")
    if found is None or Path(found).parent.resolve() != Path(sys.executable).parent.resolve():
        told = f"`python` is {found or 'not there'}, which `dvc repro` would use, not that of {sys.prefix}; {activate}"
        yield Finding(told, well=False)
        return
    yield Finding(f"{sys.prefix}, code in {Path(pipelines.__file__).parents[1]}")


def telemetry() -> Iterator[Finding]:
    """Whether any tool that is started here may phone home."""
    on = False
    for name, wanted in environment.quiet_environment().items():
        found = os.environ.get(name, wanted)
        if found.lower() not in (_ON if wanted in _ON else _OFF):
            on = True
            yield Finding(f"{name}={found}: allows it; unset it, or set it to {wanted}", well=False)
    if not on:
        yield Finding("off in all that `gan`, `make` and `dvc` start here")


def variables() -> Iterator[Finding]:
    """What the user has set that changes where things are, whom they contact, or what they make."""
    found = {name: value for name, value in environment.set_by_user().items() if _TELLING.fullmatch(name)}
    for name, value in sorted(found.items()):
        shown = "***" if _SECRET.search(name) else redact(value)
        yield Finding(f"{name}={shown}")
    if not found:
        yield Finding("none is set that changes things")


def _required(project: Path) -> tuple[SpecifierSet, list[Requirement]]:
    """The range of Python versions and the packages, by the project's pyproject.toml, else as installed."""
    file = project / PYPROJECT
    declared = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}) if file.is_file() else {}
    if declared.get("name") == PACKAGE:
        return SpecifierSet(declared["requires-python"]), [Requirement(each) for each in declared["dependencies"]]
    ours = importlib.metadata.metadata(PACKAGE)
    needed = [Requirement(each) for each in importlib.metadata.requires(PACKAGE) or ()]
    return SpecifierSet(ours["Requires-Python"]), [each for each in needed if each.marker is None]


def _tested(project: Path) -> dict[str, str]:
    file = project / CONSTRAINTS
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return {_normal(found[1]): found[2] for line in lines if (found := _PINNED.match(line))}


def _installed(name: str) -> Version | None:
    try:
        return Version(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
