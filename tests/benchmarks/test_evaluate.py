import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bounds import all_metrics
from benchmarks.evaluate import SECTIONS, Bench, make_images
from benchmarks.evaluate_report import render
from benchmarks.scorers import CONTENDERS, NAMES, Case, score

pytestmark = pytest.mark.thorough

COUNT = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("evaluate") / "images", COUNT, None)


def test_files_and_packed_images_are_as_many(folder: Path) -> None:
    data = Case(folder, "domain", folder).data
    for side, split in (("real", data.train), ("generated", data.test)):
        assert len(list((folder / side).iterdir())) == len(split) == COUNT


@pytest.mark.filterwarnings("ignore")
def test_ours_and_torch_fidelity_agree_at_the_first_run_and_the_second(folder: Path, tmp_path: Path) -> None:
    found = {}
    for name in ("ours", "torch-fidelity"):
        kept = tmp_path / name
        kept.mkdir()
        case = Case(folder, "domain", kept)
        first, second = score(name, case), score(name, case)
        assert list(kept.iterdir())
        assert first["value"] == second["value"] > 0
        found[name] = first
    assert found["ours"]["value"] == pytest.approx(found["torch-fidelity"]["value"], rel=1e-4)
    assert 0 < found["ours"]["forward_s"] < found["ours"]["seconds"]


def test_all_metrics_together_are_timed_and_weighed() -> None:
    found = all_metrics(400, 8)
    assert set(found["seconds"]) == {"intervals", "extrapolation", "classes", "memorisation"}
    assert found["features_mib"] == pytest.approx(3 * 400 * (8 + 10) * 4 / 2**20)


def test_every_section_has_its_text() -> None:
    spread = {"median": 2.0, "lower": 1.9, "upper": 2.1, "least": 1.8, "most": 2.2, "rounds": 3}
    slots = [f"{name}, {order}" for name in CONTENDERS for order in ("first", "second")]
    race = {
        "pace_s": dict.fromkeys(slots, spread),
        "times_as_fast_as": {base: {other: spread for other in slots if other != base} for base in slots},
        "slots": [0],
        "disturbed_slots": 0,
    }
    row = {"theirs": 1.0, "ours": 1.0, "difference": 0.0, "their_features": 0.0}
    peaks = {order: {"all_mib": 700.0} for order in ("first", "second")}
    comparison: dict[str, Any] = {
        "images": 300, "race": race, "values": dict.fromkeys(CONTENDERS, 1.0),
        "memory": dict.fromkeys(CONTENDERS, peaks), "outside_forward": {"first": [0.02], "second": [0.04]},
        "parity": {"torch-fidelity": {"fid": row}, "features": {"clean-fid": row}},
    }  # fmt: skip
    results: dict[str, Any] = {
        "machine": {"kind": "a machine", "date": "today", "cores": 2},
        "inception": comparison,
        "domain": comparison,
        "forward": {
            "image_s": {"torch-fidelity": 0.06, "ours": 0.03}, "times_as_fast": {"ours": spread},
            "errors": {
                name: {"of_torch_fidelity": 2e-5, "of_float64": 2e-5} for name in ("torch-fidelity", "ours")
            },
            "slots": [0], "disturbed_slots": 0,
        },
        "bounds": {
            "images": 50_000, "dimensions": 2048, "features_mib": 1200.0, "peak_beyond_mib": 900.0,
            "seconds": {"intervals": 300.0},
        },
    }  # fmt: skip
    assert set(results) == {"machine", *SECTIONS}
    assert all(callable(getattr(Bench, section)) for section in SECTIONS)
    assert set(NAMES["domain"]) < set(NAMES["inception"]) == set(CONTENDERS)
    report = render(json.loads(json.dumps(results)))
    assert report.count("\n## ") == len(SECTIONS)
    assert "| `clean-fid` | 2.00 | × 2.00 (1.90–2.10; 1.80–2.20) |" in report
    assert "| `ours` | 2.00 | 1 |" in report
