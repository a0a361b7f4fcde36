"""The model card: metadata that the Hub takes, figures of the record, code that runs."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pipelines import cli, paths
from pipelines.report.card import write_card
from pipelines.report.facts import Facts
from tests import report_project

HOSTILE = "<script>alert(1)</script>|x"
# https://github.com/huggingface/hub-docs/blob/main/modelcard.md; datasets and license would be checked by the Hub.
HUB_KEYS = {"library_name", "pipeline_tag", "tags", "model-index"}


def card(facts: Facts, folder: Path) -> str:
    write_card(facts, "7", folder / paths.MODEL_CARD)
    return (folder / paths.MODEL_CARD).read_text(encoding="utf-8")


def metadata(text: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert found is not None
    values: dict[str, Any] = yaml.safe_load(found[1])
    return values


@pytest.fixture(scope="session")
def text(facts: Facts, tmp_path_factory: pytest.TempPathFactory) -> str:
    return card(facts, tmp_path_factory.mktemp("card"))


def test_the_front_matter_has_the_hubs_layout(text: str) -> None:
    values = metadata(text)
    assert set(values) == HUB_KEYS
    assert values["pipeline_tag"] == "unconditional-image-generation"
    assert "class-conditional" in values["tags"]
    assert all(isinstance(each, str) for each in values["tags"])
    (model,) = values["model-index"]
    assert model["name"] == "digits"
    for result in model["results"]:
        assert set(result) == {"task", "dataset", "metrics"}
        assert isinstance(result["task"]["type"], str)
        assert {"type", "name"} <= set(result["dataset"])
        for metric in result["metrics"]:
            assert isinstance(metric["type"], str)
            assert isinstance(metric["value"], float)
            assert isinstance(metric["name"], str)


def test_no_licence_is_invented(text: str) -> None:
    assert "license" not in metadata(text)
    assert "# license: for the owner to add" in text
    assert "the owner of the data and the model must add it" in text


def test_every_figure_is_the_records(text: str, facts: Facts) -> None:
    (model,) = metadata(text)["model-index"]
    (result,) = model["results"]
    found = {each["type"]: each["value"] for each in result["metrics"]}
    assert found == {name.partition("/")[2]: figure.value for name, figure in facts.evaluation.metrics.items()}
    assert "| FID | domain | lower | 1.38 (1.21 to 1.55) | 3.52 | 5,000 | 540 |" in text


def test_what_it_tells_of_the_model(text: str, facts: Facts) -> None:
    for each in (
        facts.generator_sha256,
        "**By pixels:** more than chance explains: ",
        "3 of 540 held-out images have a near duplicate in the training set.",
        "The classes farthest from the held-out images: 0 (Fréchet distance 2.10 (1.70 to 2.50)",
        "Not measured: domain",
        f"git checkout {report_project.LINEAGE['git_commit']}",
        "Heusel et al. 2017",
    ):
        assert each in text
    assert "{{" not in text
    assert "{%" not in text


def test_its_code_runs(text: str, finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(finished)
    first, second = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(first, names)
    assert names["images"].shape == (16, 16, 16, 1)
    assert "models:/digits/7" in second  # tests/pipelines/registry/test_examples.py runs it
    (command,) = re.findall(r"`gan (sample [^`]*?) --output samples\.png`", text)
    output = tmp_path / "samples.png"
    assert CliRunner().invoke(cli.app, [*command.split(), "--output", str(output)]).exit_code == 0
    assert output.exists()


def test_names_of_others_stay_text(tmp_path: Path) -> None:
    source = f"data/{HOSTILE}`.zip"
    project = report_project.make_project(tmp_path, (HOSTILE, "a](http://x)`b"), {"data.source": source})
    text = card(report_project.gathered(project), tmp_path)
    assert metadata(text)["model-index"]
    body = text.partition("\n---\n")[2]
    code = re.compile(r"(?<![`\\])(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
    assert source.replace("|", r"\|") in {found.strip() for _, found in code.findall(body)}
    words = code.sub("", body)
    assert not set(re.findall(r"<.*?>|\]\(", words))
    assert r"&lt;script&gt;alert\(1\)&lt;\/script&gt;\|x" in words
    assert r"a\]\(http\:\/\/x\)\`b" in words


def test_unlabelled_data_and_no_git(unlabelled: Facts, tmp_path: Path) -> None:
    text = card(unlabelled, tmp_path)
    assert "class-conditional" not in metadata(text)["tags"]
    assert "- **Labels:** none." in text
    assert "- Git commit: unknown" in text
    assert "To make it again: `dvc repro`" in text


def test_alarms_are_limitations(facts: Facts, tmp_path: Path) -> None:
    alarmed = facts.evaluation.model_copy(update={"alarms": ("the classifier knows nothing",)})
    _, _, limitations = card(dataclasses.replace(facts, evaluation=alarmed), tmp_path).partition("## Limitations")
    assert "- **Alarm:** the classifier knows nothing." in limitations


def test_without_metrics_there_are_no_results(facts: Facts, tmp_path: Path) -> None:
    bare = dataclasses.replace(facts, evaluation=facts.evaluation.model_copy(update={"metrics": {}}))
    text = card(bare, tmp_path)
    assert "model-index" not in metadata(text)
    assert "No metric could be measured." in text


def test_same_facts_same_bytes(facts: Facts, tmp_path: Path) -> None:
    assert card(facts, tmp_path / "a") == card(facts, tmp_path / "b")


def test_reconstruction_has_a_line_where_it_was_measured(facts: Facts, text: str, tmp_path: Path) -> None:
    line = "By reconstruction:** PSNR of held-out images 29.01 (28.58 to 29.44) dB, of training images"
    assert line in text
    without = facts.evaluation.model_copy(update={"reconstruction": None})
    assert "reconstruction" not in card(dataclasses.replace(facts, evaluation=without), tmp_path)


def test_what_else_the_critic_saw_is_told(facts: Facts, text: str, tmp_path: Path) -> None:
    network = facts.config.network.model_copy(update={"critic_pretrained": "efficientnet-lite0"})
    config = facts.config.model_copy(update={"network": network})
    told = card(dataclasses.replace(facts, config=config), tmp_path)
    assert "the frozen features of efficientnet-lite0, a network trained on ImageNet" in told
    assert "efficientnet" not in text
