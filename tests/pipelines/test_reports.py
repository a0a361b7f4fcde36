"""What a finished run shows: the table in the terminal, the page in Prefect."""

import json
from pathlib import Path

import pytest

from ganlib.evaluation.record import Interval
from pipelines import paths, summary
from pipelines.graph.dag import StageOutcome
from tests.evaluations import evaluation, figure, registration, write_reports
from tests.registered import evaluation_of, make_generator

OUTCOMES = (StageOutcome("train", "ran", 1.25),)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / paths.REPORTS).mkdir()
    return tmp_path


def test_figures_with_their_intervals_and_floor(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluation(fid=figure(3.0, 0.25, 0.75), fid_floor=figure(1.5))
    write_reports(project, found, registration("Better by [0.4]."))
    summary.show(project, OUTCOMES)
    shown = capsys.readouterr().out
    assert "0.25 to 0.75" in shown
    assert "fid is 2.00 × this" in shown
    assert "Better by [0.4]." in shown


def test_no_interval_and_a_floor_of_zero_without_a_ratio(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluation(fid=figure(3.0), fid_floor=figure(0.0)).write(project / paths.EVALUATION)
    summary.show(project, OUTCOMES)
    shown = capsys.readouterr().out
    assert "domain/fid" in shown
    assert " to " not in shown
    assert "× this" not in shown


def test_what_was_left_out_is_told_with_the_reason(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluation(fid=figure(3.0)).model_copy(update={"skipped": {"memorisation": "needs 100, found 3"}})
    found.write(project / paths.EVALUATION)
    summary.show(project, OUTCOMES)
    assert "Left out: memorisation (needs 100, found 3)" in capsys.readouterr().out


def test_how_many_held_out_images_have_near_duplicates_is_on_the_first_screen(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = "no sign of copying: at most 4 % of the images (with 95 % confidence, p = 0.50)"
    many = "400 of 500 held-out images have a near duplicate in the training set"
    for count, told in ((3, few), (400, many)):
        share = Interval(estimate=-0.02, low=-0.05, high=0.04, level=0.95)
        folder = make_generator(project / str(count), 1)
        evaluation_of(folder, 3.0, copies=share, near_duplicates=count).write(project / paths.EVALUATION)
        summary.show(project, OUTCOMES)
        line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Near copies"))
        assert f"by features: {told}" in line.replace("\N{NO-BREAK SPACE}", " ")
        assert "-" not in line.partition(":")[2].replace("held-out", "")
        assert ("copies cannot be told; keep images of one scene or video in one split" in line) is (count == 400)


def test_the_page_in_prefect_links_to_mlflow_without_secrets(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.flows.report import result_markdown

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://anna:geheim@mlflow.example.org/x?token=t0p")
    page = result_markdown(project, OUTCOMES)
    assert "geheim" not in page
    assert "t0p" not in page
    assert "mlflow.example.org" in page
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert "`gan ui`" in result_markdown(project, OUTCOMES)


def test_the_quality_of_data_in_prefect(project: Path) -> None:
    from pipelines.flows.report import data_quality

    figures = {"files": 400, "dropped": 3, "dropped_share": 0.0075, "train/images": 300, "train/images/cases/x": 1}
    cases = {"cases/truncated/drop": 2, "cases/alpha/fix": 7, "cases/empty/drop": 2}
    (project / paths.DATA_REPORT).write_text(json.dumps(figures | cases))
    rows, summary = data_quality(project / paths.DATA_REPORT)
    assert [tuple(row.values()) for row in rows] == [
        ("alpha", "fix", 7),
        ("empty", "drop", 2),
        ("truncated", "drop", 2),
    ]
    assert summary.startswith("3 of 400 files left out (0.75%); ")
    (project / paths.DATA_REPORT).write_text(json.dumps(figures))
    assert data_quality(project / paths.DATA_REPORT)[0] == [{"kind": "none", "action": "", "count": 0}]
