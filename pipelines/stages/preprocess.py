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
        manifest = pack(config.data, paths.PROCESSED, on_event=display)
    write_json(paths.DATA_REPORT, figures(manifest))
    train, test = manifest.train, manifest.test
    say(f"preprocess: {train.images} training and {test.images} test images, {manifest.quarantined} files left out")


def figures(manifest: Manifest) -> dict[str, int]:
    """Counts by split and class, flat: a DVC metrics file."""
    counts = {"quarantined": manifest.quarantined}
    for name, split in manifest.splits.items():
        counts[f"{name}/images"] = split.images
        counts |= {f"{name}/images/{label}": count for label, count in split.per_class.items()}
    return counts


if __name__ == "__main__":
    run_stage("preprocess", main)
