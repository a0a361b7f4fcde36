"""Stage: images of any size into packed shards, split by content."""

from ganlib.config import load_config
from ganlib.datasets.manifest import Manifest
from ganlib.datasets.packing import pack
from pipelines import paths
from pipelines.stages.shell import ProgressDisplay, run_stage, say, write_json


def main() -> None:
    """Write `data/processed` and its figures."""
    config = load_config(paths.PARAMS)
    with ProgressDisplay("preprocess") as display:
        manifest = pack(config.data, config.preprocess, paths.PROCESSED, scratch=paths.PACKING, on_event=display)
    write_json(paths.DATA_REPORT, figures(manifest))
    train, test = manifest.train, manifest.test
    say(f"preprocess: {train.images} training and {test.images} test images, {manifest.dropped} files left out")


def figures(manifest: Manifest) -> dict[str, float]:
    """Counts of files, cases and images, flat: a DVC metrics file."""
    counts: dict[str, float] = {"files": manifest.files, "dropped": manifest.dropped}
    counts["dropped_share"] = manifest.dropped / manifest.files
    for kind, actions in manifest.cases.items():
        counts |= {f"cases/{kind}/{action}": count for action, count in actions.items()}
    for name, split in manifest.splits.items():
        counts[f"{name}/images"] = split.images
        counts |= {f"{name}/images/{label}": count for label, count in split.per_class.items()}
    return counts


if __name__ == "__main__":
    run_stage("preprocess", main)
