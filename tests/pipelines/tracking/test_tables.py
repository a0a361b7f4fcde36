"""Tables among a run's artifacts have a line a figure, and as many cells in each."""

import csv
from pathlib import Path

from pipelines.tracking.tables import write_figures
from tests import report_project


def test_every_figure_has_a_line_with_its_interval(tmp_path: Path) -> None:
    found = report_project.evaluation(report_project.DIGITS, "9" * 64)
    write_figures(found, tmp_path / "figures.csv")
    header, *rows = csv.reader((tmp_path / "figures.csv").read_text().splitlines())
    assert {len(row) for row in rows} == {len(header)}
    by_name = {name: dict(zip(header[1:], cells, strict=True)) for name, *cells in rows}
    assert set(found.metrics) < set(by_name)
    assert found.reconstruction is not None
    told = by_name["reconstruction of held-out images, psnr"]
    sure = found.reconstruction.psnr.held_out
    assert (float(told["low"]), float(told["high"]), told["real images"]) == (sure.low, sure.high, "100")
