"""What an experiment says of itself in MLflow: its kind, its primary metric, how to read it, and a view.

The tags are those that the pages of MLflow 3.17 heed. A saved view, `mlflow.sharedViewState.<name>`, holds sorting,
columns and charts; the address parameter `viewStateShareKey=<name>` opens it, and so does the list of saved views.
"""

import base64
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.tracking.headline import EVALUATED, TRAINED, gate_key

if TYPE_CHECKING:
    from mlflow import MlflowClient

VIEW = "gan"
NOTE = "mlflow.note.content"
_KIND = "mlflow.experimentKind"
_PRIMARY = "mlflow.experiment.primaryMetric.name"
_GREATER_IS_BETTER = "mlflow.experiment.primaryMetric.greaterIsBetter"
_SHARED_VIEW = f"mlflow.sharedViewState.{VIEW}"
_DEFLATE = "deflate;"
_VIEW_NAME = "Which run is best"


@dataclass(frozen=True)
class Experiment:
    """A name, and what its runs are compared by.

    Attributes:
        name: of the experiment.
        metric: the gate's, such as `domain/fid`.
        greater_is_better: its direction.
        halfway_images: images shown where samples were drawn halfway through the newest training: what the view shows.
    """

    name: str
    metric: str
    greater_is_better: bool
    halfway_images: int

    def describe(self, client: "MlflowClient", experiment_id: str, time_ms: int) -> None:
        """Set the tags that differ; a person's own note and kind stay."""
        known = client.get_experiment(experiment_id).tags
        for key, value in (
            (_PRIMARY, gate_key(self.metric)),
            (_GREATER_IS_BETTER, json.dumps(self.greater_is_better)),
        ):
            if known.get(key) != value:
                client.set_experiment_tag(experiment_id, key, value)
        for key, value in ((_KIND, "custom_model_development"), (NOTE, self._note())):
            if key not in known:
                client.set_experiment_tag(experiment_id, key, value)
        state = json.dumps(view(self))
        if _unpacked(known.get(_SHARED_VIEW)) != state:
            saved = {"name": _VIEW_NAME, "createdAt": time_ms, "updatedAt": time_ms, "state": _packed(state)}
            client.set_experiment_tag(experiment_id, _SHARED_VIEW, json.dumps(saved))

    def _note(self) -> str:
        best = "highest" if self.greater_is_better else "lowest"
        return (
            f"**The best run has the {best} `{gate_key(self.metric)}`**: an estimate free of the bias of few images, "
            f"with its interval in `…_low` and `…_high`. `{EVALUATED}/{self.metric}` is the value as papers report it. "
            "Two runs whose intervals overlap may be equally good; `gan compare` measures the difference.\n\n"
            f"The saved view *{_VIEW_NAME}* sorts and charts the runs that way. In a run, *Artifacts* begins with its "
            f"report, `evaluation/figures.csv` has every figure with its interval, `{TRAINED}/params.yaml` every "
            "parameter; *Parameters* shows the main ones and those that differ from the nearest preset. "
            "`samples/generated` shows the same seeds through the training, `samples/best` the snapshot that was kept."
        )


def _packed(state: str) -> str:
    """As MLflow's pages pack it: a tag holds 5000 characters."""
    return _DEFLATE + base64.b64encode(zlib.compress(state.encode())).decode()


def _unpacked(tag: str | None) -> str | None:
    """The state in a tag; None where there is none that was packed like this."""
    try:
        packed = json.loads(tag or "{}")["state"]
        return zlib.decompress(base64.b64decode(packed.removeprefix(_DEFLATE))).decode()
    except (ValueError, LookupError, TypeError, AttributeError, zlib.error):
        return None


def view(experiment: Experiment) -> dict[str, Any]:
    """Sorting, columns and charts, in the words of MLflow's pages."""
    gate, reported = gate_key(experiment.metric), f"{EVALUATED}/{experiment.metric}"
    extractor = experiment.metric.partition("/")[0]
    columns = [
        *(f"metrics.`{key}`" for key in (gate, f"{gate}_low", f"{gate}_high", reported)),
        *(f"metrics.`{key}`" for key in (f"{EVALUATED}/{extractor}/coverage", f"{TRAINED}/minutes")),
        *(f"params.`{name}`" for name in ("train.seed", "train.total_images")),
    ]
    name_column = "attributes.`Run Name`"
    sections = {
        "Which is best": [_bar([f"{gate}_low", gate, f"{gate}_high"]), _bar([reported])],
        "Samples of the same seeds": [
            _images("samples/generated", experiment.halfway_images),
            _images("samples/best"),
            _images("samples/real"),
        ],
        "Training": [
            _line([f"{TRAINED}/{extractor}/fid"]),
            _line(["loss/critic", "loss/generator"]),
            _line([f"{TRAINED}/diversity"]),
            _line([f"{TRAINED}/images_per_s"]),
        ],
    }
    charts = list(_placed(sections))
    return {
        "orderByKey": f"metrics.`{gate}`",
        "orderByAsc": not experiment.greater_is_better,
        "selectedColumns": columns,
        "columnOrder": [name_column, *columns],
        "columnWidths": {name_column: 330, **dict.fromkeys(columns, 165), **dict.fromkeys(columns[:3], 220)},
        "compareRunSections": [
            {
                "uuid": f"gan-{place}",
                "name": name,
                "display": True,
                "isReordered": True,
                "deleted": False,
                "isGenerated": False,
            }
            for place, name in enumerate(sections)
        ],
        "compareRunCharts": charts,
        "isAccordionReordered": True,
    }


def _placed(sections: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    for place, charts in enumerate(sections.values()):
        for number, chart in enumerate(charts):
            yield {
                "uuid": f"gan-{place}-{number}",
                "metricSectionId": f"gan-{place}",
                "deleted": False,
                "isGenerated": False,
                "runsCountToCompare": 10,
                **chart,
            }


def _bar(keys: list[str]) -> dict[str, Any]:
    return {"type": "BAR", "metricKey": keys[0], "selectedMetricKeys": keys}


def _line(keys: list[str]) -> dict[str, Any]:
    return {
        "type": "LINE", "metricKey": keys[0], "selectedMetricKeys": keys,
        "xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear", "lineSmoothness": 0, "range": {},
        "selectedXAxisMetricKey": "", "yAxisKey": "metric", "yAxisExpressions": [], "ignoreOutliers": False,
        "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True,
    }  # fmt: skip


def _images(key: str, step: int = 0) -> dict[str, Any]:
    return {"type": "IMAGE", "imageKeys": [key], "step": step, "showRunParams": False}
