"""Every path of a project, once. All are relative to the project's folder."""

import os
from pathlib import Path


def _home() -> Path:
    """The project. A temporary copy of it, in which DVC runs a queued experiment, names the project that it is of."""
    root = os.environ.get("DVC_ROOT", "")
    return Path(root) if root and Path(root).resolve() != Path.cwd() else Path()


HOME = _home()
PARAMS = Path("params.yaml")
DVC_FILE = Path("dvc.yaml")
DVC_LOCK = Path("dvc.lock")
PRESETS = Path("presets")

RAW = Path("data/raw")
PROCESSED = Path("data/processed")
EXTRACTOR = Path("models/extractor")
GENERATOR = Path("models/generator")

REPORTS = Path("reports")
DATA_REPORT = REPORTS / "data.json"
DATA_SHEETS = REPORTS / "data"
EXTRACTOR_REPORT = REPORTS / "extractor.json"
CURVES = REPORTS / "curves.csv"
SNAPSHOTS = REPORTS / "snapshots.csv"
TRAINING_SAMPLES = REPORTS / "training_samples.png"
METRICS = REPORTS / "metrics.json"
EVALUATION = REPORTS / "evaluation.json"
PICTURES = REPORTS / "pictures"
SAMPLES = PICTURES / "samples.png"
REAL_AND_GENERATED = PICTURES / "real_and_generated.png"
NEAR_COPIES = PICTURES / "near_copies.png"
TRUNCATION = PICTURES / "truncation.png"
INTERPOLATION = PICTURES / "interpolation.png"
ANIMATION = PICTURES / "interpolation.webp"
# Of a run, where evaluation and report lie among its artifacts.
EVALUATION_ARTIFACTS = "evaluation"
REPORT_ARTIFACTS = "report"
REGISTRATION = REPORTS / "registration.json"
REPORT = REPORTS / "report.html"
MODEL_CARD = REPORTS / "MODEL_CARD.md"
COMPARISON = REPORTS / "comparison.html"

# Scratch space of this machine: ignored by git and DVC, safe to delete when nothing runs. Copies of a project share it.
SCRATCH = HOME / ".ganlib"
PACKING = SCRATCH / "packing"
CHECKPOINTS = SCRATCH / "checkpoints"
STARTING_POINT = SCRATCH / "starting_point"
FEATURES = SCRATCH / "features"
WEIGHTS = SCRATCH / "weights"
DOWNLOADS = SCRATCH / "downloads"
SPOOL = SCRATCH / "spool"
QUIZ = SCRATCH / "quiz"
MADE = SCRATCH / "made"
PREFECT_HOME = SCRATCH / "prefect"
PIPELINE_LOCK = SCRATCH / "pipeline.lock"
WAITING_LOCK = SCRATCH / "pipeline.waiting.lock"
PACKING_LOCK = SCRATCH / "packing.lock"
STORE_LOCK = SCRATCH / "store.lock"
