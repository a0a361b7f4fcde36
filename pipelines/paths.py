"""Every path of a project, once. All are relative to the project's folder."""

import os
from pathlib import Path

OWN_SCRATCH = Path(".ganlib")
RUNS = OWN_SCRATCH / "runs"  # worktrees of isolated runs, a folder each


def home_of(folder: Path) -> Path:
    """The project that a folder is of: an isolated run's worktree lies in it, DVC names that of its own copies."""
    folder = folder.absolute()
    for each in (folder, *folder.parents):
        if each.parent.parts[-2:] == RUNS.parts:
            return each.parents[2]
    root = os.environ.get("DVC_ROOT", "")
    return Path(root) if root and Path(root).resolve() != folder else Path()


HOME = home_of(Path.cwd())
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
REPETITION = REPORTS / "repetition.md"

# Scratch space of this machine: ignored by git and DVC, safe to delete when nothing runs. Copies of a project share it.
SCRATCH = HOME / OWN_SCRATCH
PACKING = SCRATCH / "packing"
CHECKPOINTS = SCRATCH / "checkpoints"
STARTING_POINT = SCRATCH / "starting_point"
FEATURES = SCRATCH / "features"
WEIGHTS = SCRATCH / "weights"
DOWNLOADS = SCRATCH / "downloads"
SPOOL = SCRATCH / "spool"
QUIZ = SCRATCH / "quiz"
MADE = SCRATCH / "made"
RECOGNITION = SCRATCH / "recognition"
CREDENTIAL = SCRATCH / "credential"
PACKING_LOCK = SCRATCH / "packing.lock"
STORE_LOCK = SCRATCH / "store.lock"
DURATIONS = SCRATCH / "durations.json"
# Of each copy its own: the parameters that it was started with, what its training measures, whoever drives its stages,
# a Prefect server for that.
STARTED = OWN_SCRATCH / "started.yaml"
MEASURED = OWN_SCRATCH / "measured.jsonl"
PREFECT_HOME = OWN_SCRATCH / "prefect"
PIPELINE_LOCK = OWN_SCRATCH / "pipeline.lock"
WAITING_LOCK = OWN_SCRATCH / "pipeline.waiting.lock"
