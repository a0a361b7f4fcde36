from pathlib import Path

import pytest

from pipelines.report.facts import Facts
from tests import report_project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after its stages; not to be changed."""
    return report_project.make_project(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def facts(finished: Path) -> Facts:
    return report_project.gathered(finished)


@pytest.fixture(scope="session")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Facts of an unconditional generator."""
    return report_project.gathered(
        report_project.make_project(tmp_path_factory.mktemp("unlabelled"), classes=()),
        {name: value for name, value in report_project.LINEAGE.items() if not name.startswith("git_")},
    )
