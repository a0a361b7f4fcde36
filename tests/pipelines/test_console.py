"""What others wrote reaches the terminal as it is: brackets are no markup, colons no emoji."""

import re

import pytest
from rich.table import Table

from ganlib import events
from pipelines.console import plain_console
from pipelines.stages.shell import ProgressDisplay
from tests.configs import ROOT

ODD = "x[/]notes.txt [bold]b[/bold] [red]r :cat: [link=a]"


def test_notices_and_alarms_say_what_they_hold(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay("preprocess") as display:
        display(events.Notice(ODD))
        display(events.Alarm(5, "name", "figure", 1.0, 0.5, ODD))
    told = capsys.readouterr().out.splitlines()
    assert told == [f"preprocess: {ODD}", f"preprocess: alarm at 5 images shown: {ODD}"]


def test_cells_headings_and_titles_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(f"1 {ODD}", title=f"2 {ODD}")
    table.add_row(f"3 {ODD}")
    plain_console(100).print(table)
    told = capsys.readouterr().out
    assert all(f"{number} {ODD}" in told for number in (1, 2, 3))


def test_no_other_console_is_made() -> None:
    made = [path for path in ROOT.glob("pipelines/**/*.py") if re.search(r"\bConsole\(", path.read_text("utf-8"))]
    assert made == [ROOT / "pipelines/console.py"]
