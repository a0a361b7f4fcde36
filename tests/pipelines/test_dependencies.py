"""dvc.yaml lists every file that a stage's result depends on."""

from pathlib import Path

import grimp
import pytest
import yaml

from tests.configs import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
# No logic that changes a result: parameters are tracked by value, the rest is words and writing. A mark is words: for
# another one nobody is to train again.
NEUTRAL = {
    *("ganlib", "ganlib.counting", "ganlib.errors", "ganlib.events", "ganlib.marking", "ganlib.replacing"),
    *("ganlib.source_digest", "ganlib.tensor_files", "ganlib.weightless"),
}


def _neutral(module: str) -> bool:
    return module in NEUTRAL or module.split(".")[:2] == ["ganlib", "config"]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("ganlib", "pipelines", cache_dir=None, exclude_type_checking_imports=True)


@pytest.mark.parametrize("stage", STAGES)
def test_every_imported_module_of_the_library_is_a_dependency(stage: str, graph: grimp.ImportGraph) -> None:
    def covered(module: str) -> bool:
        path = Path(*module.split("."))
        file = path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")
        return any(file == Path(dep) or Path(dep) in file.parents for dep in STAGES[stage]["deps"])

    reached = graph.find_upstream_modules(f"pipelines.stages.{stage}")
    own = {module for module in reached if module.startswith("ganlib") and not _neutral(module)}
    packages = {"ganlib.datasets", "ganlib.metrics"}  # their __init__ holds a docstring only
    assert sorted(module for module in own - packages if not covered(module)) == []


@pytest.mark.parametrize("stage", STAGES)
def test_the_stages_own_file_is_a_dependency(stage: str) -> None:
    assert f"pipelines/stages/{stage}.py" in STAGES[stage]["deps"]
    assert STAGES[stage]["cmd"] == f"python -m pipelines.stages.{stage}"
