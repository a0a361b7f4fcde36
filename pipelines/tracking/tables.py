"""Figures as tables that MLflow's pages show, CSV files among a run's artifacts."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ganlib.evaluation.record import Evaluation


FIGURES = "figures.csv"
DATA = "data.csv"


def write_figures(evaluation: "Evaluation", path: Path) -> None:
    """Every metric: the value as papers report it, the estimate and its interval, and how many images were compared."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        interval = ("estimate", "low", "high", "confidence")
        writer.writerow(("figure", "as papers report it", *interval, "generated images", "real images"))
        for name, figure in evaluation.metrics.items():
            sure, on = figure.interval, figure.conditions
            between = () if sure is None else (sure.estimate, sure.low, sure.high, sure.level)
            cells = [f"{number:.5g}" for number in (figure.value, *between)]
            writer.writerow((name, *cells, *[""] * (5 - len(cells)), on.generated_count, on.reference_count))
        for space, copying in evaluation.memorisation.items():
            sure = copying.share
            # An estimate below zero is chance; what is known is the interval.
            known = (*(max(each, 0.0) for each in (sure.estimate, sure.low, sure.high)), sure.level)
            shown = [f"{number:.5g}" for number in known]
            writer.writerow((f"near copies by {space}, share", "", *shown, "", copying.held_out))
            p_value = f"{copying.p_value:.5g}"
            writer.writerow((f"near copies by {space}, p-value", p_value, "", "", "", "", "", copying.held_out))
        if found := evaluation.reconstruction:
            for name, both in found.by_name.items():
                sides = ("held-out", both.held_out, found.held_out), ("training", both.training, found.training)
                for side, sure, count in sides:
                    shown = [f"{each:.5g}" for each in (sure.estimate, sure.low, sure.high, sure.level)]
                    writer.writerow((f"reconstruction of {side} images, {name}", "", *shown, count, count))


def write_counts(counts: Mapping[str, float], path: Path) -> None:
    """What was counted of the data, a line each."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("counted", "number"))
        writer.writerows(counts.items())
