"""Stage: images of any size into packed shards, split by content."""

from ganlib.config import check_data_fits, load_config
from ganlib.datasets.packed.manifest import Manifest
from ganlib.datasets.packing.pack import pack
from pipelines import paths
from pipelines.graph.locking import hold
from pipelines.stages.shell import ProgressDisplay, run_stage, say, write_json


def main() -> None:
    """Write `data/processed` and its figures."""
    config = load_config(paths.PARAMS)
    # `gan data check` and `gan data show` decode into the same place.
    with hold(paths.PACKING_LOCK, on_wait=say), ProgressDisplay("preprocess") as display:
        manifest = pack(config.data, config.preprocess, paths.PROCESSED, scratch=paths.PACKING, on_event=display)
    write_json(paths.DATA_REPORT, figures(manifest))
    train, test = manifest.train, manifest.test
    check_data_fits(config, manifest.counts)  # the later stages would refuse them, after minutes
    say(f"preprocess: {train.images} training and {test.images} test images, {manifest.dropped} files left out")


def figures(manifest: Manifest) -> dict[str, float]:
    """Counts of files, cases and images, flat: a DVC metrics file."""
    counts = manifest.totals
    for name, split in manifest.splits.items():
        counts |= {f"{name}/images/{label}": count for label, count in split.per_class.items()}
    return counts


if __name__ == "__main__":
    run_stage("preprocess", main)
