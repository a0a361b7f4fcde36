"""`gan compare` on a real store, with real generators: what it says, writes and logs."""

import re
from pathlib import Path

import pytest
import yaml

from ganlib.config import load_config
from pipelines import paths
from pipelines.comparing.meeting import meet
from pipelines.comparing.subject import Subject, read_subject
from pipelines.registry.choosing import choose
from pipelines.tracking import store
from tests.compared_project import KINDS, MODEL
from tests.html_pages import Element, read_html
from tests.mlflow_server import free_port
from tests.pipelines.comparing.conftest import Compare


def subjects_of(*names: str) -> list[Subject]:
    return [read_subject(each) for each in choose(MODEL, MODEL, names)]


def page() -> Element:
    return read_html(paths.COMPARISON.read_text(encoding="utf-8"))


def table(root: Element, label: str) -> list[list[str]]:
    (found,) = (each for each in root.walk() if each.attributes.get("aria-label") == label and each.tag == "div")
    return found.rows()


def test_champion_and_challenger(here: Path, compare: Compare) -> None:
    said = compare("champion", "challenger")
    assert said.code == 0, said.err
    root = page()
    # The words of the terminal and of the page are the same.
    first_line = said.out.splitlines()[0]
    assert re.match(r"champion .*challenger|challenger .*champion", first_line)
    assert "FID, domain features" in first_line
    assert first_line in root.all("header")[0].text
    # Only what differs.
    assert [row[0] for row in table(root, "Parameters that differ")[1:]] == ["loss.adversarial", "train.seed"]
    assert table(root, "Parameters that differ")[2] == ["train.seed", "0", "2"]
    assert "network.latent_dim" not in said.out
    # Figures by the intervals that were recorded: FID 0.9 lower is sure, equal ones are no difference.
    figures = {row[0]: row for row in table(root, "Figures")[1:]}
    assert figures["FID, domain features lower is better"][-1] == "best: challenger"
    assert figures["FID, domain features lower is better"][1] == "2.28 (2.11 to 2.45) as papers report it 4.42"
    assert figures["KID, domain features lower is better"][-1] == "no difference"
    assert figures["FID at infinitely many generated images, domain features lower is better"][-1] == "no interval"
    assert len(root.all("img")) == 2
    # The page is where it says, and with the newer run.
    client = store.connect()
    first, second = subjects_of("first", "second")
    folder = f"comparison/with-{first.run_id[:8]}"
    assert f"Logged to run second: {folder}/comparison.html" in said.out
    assert [each.path for each in client.list_artifacts(second.run_id, folder)] == [f"{folder}/comparison.html"]
    assert not client.list_artifacts(first.run_id, "comparison")


def test_the_meeting_is_the_gates(here: Path) -> None:
    """Its difference is turned round with the sides, and lies in the interval of the other way round."""
    config = load_config(paths.PARAMS)
    one, other = subjects_of("1", "2")
    forth, back = (meet(config, *pair, lambda _: None) for pair in ((one, other), (other, one)))
    names = [row.name for row in forth.verdict.table]
    assert names[0] == config.register_.metric
    assert {"coverage", "label fidelity"} <= set(names)
    assert forth.metric.difference is not None
    assert back.metric.difference is not None
    assert forth.metric.difference.estimate == pytest.approx(-back.metric.difference.estimate, rel=1e-6)
    assert forth.metric.challenger == back.metric.champion
    assert {forth.better, back.better} in ({0, 1}, {None})
    assert not (forth.verdict.promoted and back.verdict.promoted)
    assert forth.strangers == ()


def test_several_runs_are_ranked(here: Path, compare: Compare) -> None:
    said = compare("first", "third", "second", "elsewhere", "-o", "several.html")
    assert said.code == 0, said.err
    assert said.out.startswith(
        "By FID, domain features, best: second; as good, within chance: third; the others are surely worse.\n"
    )
    assert "Mind: elsewhere: trained on other data than first, third, second." in said.out
    assert (
        "Mind: elsewhere was measured with other settings or code: its figures are shown, and not ranked." in said.out
    )
    assert "As the gate decides" not in said.out
    root = read_html(Path("several.html").read_text())
    (fid,) = (row for row in table(root, "Figures")[1:] if row[0].startswith("FID, domain"))
    assert [each.partition(" ")[0] for each in fid[1:5]] == ["2.28", "1.48", "1.38", "1.38"]
    (best,) = (each for each in root.all("tr") if each.text.startswith("FID, domain"))
    assert [each.text.split(" ")[0] for each in best.all("td") if "best" in each.attributes["class"]] == [
        "1.48",
        "1.38",
    ]


def test_a_run_without_artifacts_is_named(here: Path, compare: Compare) -> None:
    said = compare("--last", 5)
    assert said.code == 0, said.err
    order = [each[0] for each in table(page(), "Runs")[1:]]
    assert order == [*KINDS, "broken"]
    assert "Mind: broken: no training/params.yaml; no evaluation/evaluation.json; no training/curves.csv;" in said.out


def test_two_of_which_one_is_not_registered(here: Path, compare: Compare) -> None:
    said = compare("second", "third")
    assert said.code == 0, said.err
    reason = "no version of model digits holds the generator of third: it cannot be drawn from"
    assert f"Not compared as the gate does: {reason}." in said.out
    assert reason in page().text
    assert said.out.startswith("None of these runs is surely better than another in FID, domain features.\n")


def test_without_the_data_figures_are_compared_all_the_same(
    here: Path, compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "PROCESSED", Path("gone"))
    said = compare("first", "second")
    assert said.code == 0, said.err
    assert "Not compared as the gate does: gone" in said.out
    assert said.out.startswith("By FID, domain features, best: second")


def test_what_is_not_there_is_one_line(here: Path, compare: Compare) -> None:
    before = set(here.iterdir())
    assert compare("first").error.startswith("RUN: give two runs or more")
    assert compare("first", "second", "--last", 2).error.startswith("--last 2: give either this or runs by name")
    assert compare(*"abcdefghi").error.startswith("RUN: found 9, expected at most 8")
    assert compare("first", "second", "-o", "page.pdf").error.startswith("--output page.pdf: an HTML file is written")
    assert compare("first", "nobody").error == (
        f"RUN=nobody: no run, alias or version of this name in sqlite:///{here}/mlflow.db; the newest runs of "
        "tracking.experiment=digits: broken, elsewhere, third, second, first; aliases of register.model_name=digits: "
        "challenger (version 2), champion (version 1)"
    )
    assert compare("champion", "first").error.startswith("champion and first: are the same run, ")
    assert set(here.iterdir()) - before <= {here / paths.REPORTS}


def test_a_folder_without_a_store_gets_none(
    tmp_path: Path, compare: Compare, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / paths.PARAMS).write_text(yaml.safe_dump(yaml.safe_load(paths.PARAMS.read_text())))
    monkeypatch.chdir(tmp_path)
    assert compare("champion", "challenger").error.startswith("mlflow.db: not in this folder")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/nowhere/x.db")
    assert "nowhere/x.db: no such file" in compare("champion", "challenger").error
    assert [each.name for each in tmp_path.iterdir()] == ["params.yaml"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert "no answer (connection refused)" in compare("champion", "challenger").error
