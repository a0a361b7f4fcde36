"""The figures of `benchmarks.evaluate` as text for people."""

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.report import times

EXPLANATION = """\
Fréchet distance of two sets of images, by each package as its README says: `torch-fidelity`, `pytorch-fid` and
`clean-fid` from two folders of PNG files, with their defaults of batch sizes and workers; `torchmetrics` by
`update` on batches of 64 that lie decoded in memory; `ours` from packed images, as the pipeline has them, by
`cached_features` and `FrechetReference`. Packing does not count, nor do imports; making and loading the network does.
"Second": the real side is known from the first run, by what each package keeps (torch-fidelity's `cache_root`,
pytorch-fid's `--save-stats`, clean-fid's custom statistics, the states of torchmetrics), generated images are new.

All networks have the same random weights. clean-fid's TorchScript file cannot be had without a network:
torch-fidelity's network, traced, takes its place, and so does a dictionary for the download of pytorch-fid. clean-fid
resizes by Pillow's bicubic filter, pytorch-fid by PyTorch's bilinear one, so that their distances are others by
design. With the domain features each takes the same small classifier through its documented hook; pytorch-fid has
none, and clean-fid then keeps nothing.

Every slot is a process of its own; contenders take turns in random order. "× 1.50 (1.45–1.54; 1.40–1.60)" is how many
times as fast ours was, the median of the rounds with quartiles and extremes. Rounds in which other processes used more
than 12 % of a core count only where no other is left."""
PARITY = """\
Relative differences of ours from `torch_fidelity.calculate_metrics` on the same images ("images") and from the features
that its network gave ("its features": the statistics alone); from the other packages' formulas on our features."""
FORWARD = """\
Inception's forward pass alone, in one process. Errors are of the features, relative to their norm."""
BOUNDS = """\
Peak of resident memory beyond the features of generated, held-out and training images themselves, while all
intervals, FID's extrapolation and each class's FID are computed, and memorisation in feature space is tested."""


def render(results: dict[str, Any]) -> str:
    """The whole report, in Markdown."""
    machine = results["machine"]
    facts = ", ".join(f"{name} {value}" for name, value in machine.items() if name not in ("kind", "date"))
    lines = [f"# Evaluation on {machine['kind']}, {machine['date']}", "", facts + ".", ""]
    if results.keys() & {"inception", "domain"}:
        lines += [EXPLANATION, ""]
    sections: dict[str, tuple[str, Callable[[Any], Iterator[str]]]] = {
        "inception": ("Inception features", _comparison),
        "domain": ("Domain features", _comparison),
        "forward": ("Ways to run Inception", _forward),
        "bounds": ("Memory of all metrics together", _bounds),
    }
    for name, (title, text) in sections.items():
        if name in results:
            lines += [f"## {title}", "", *text(results[name]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _comparison(found: dict[str, Any]) -> Iterator[str]:
    race = found["race"]
    yield f"{found['images']:,} against {found['images']:,} images."
    yield ""
    yield from _head(
        ["contender", "first s", "ours is", "second s", "ours is", "peak MiB, first", "second", "distance"]
    )
    for name, value in found["values"].items():
        cells = [f"`{name}`"]
        for order in ("first", "second"):
            cells += [f"{race['pace_s'][f'{name}, {order}']['median']:.2f}", _ratio(race, name, order)]
        cells += [f"{found['memory'][name][order]['all_mib']:.0f}" for order in ("first", "second")]
        yield _row([*cells, f"{value:.6g}"])
    outside = {order: sorted(shares)[len(shares) // 2] for order, shares in found["outside_forward"].items()}
    shares = f"{outside['first']:.1%} of the first run and {outside['second']:.1%} of the second"
    yield f"\nOurs spends {shares} outside the forward pass; "
    yield f"{race['disturbed_slots']} of {len(race['slots'])} slots disturbed by others."
    yield from ("", PARITY, "")
    yield from _head(["beside", "figure", "theirs", "ours", "images", "its features"])
    for name, row in found["parity"]["torch-fidelity"].items():
        cells = [f"{row[key]:.8g}" for key in ("theirs", "ours")]
        yield _row(["torch-fidelity", name, *cells, *(f"{row[key]:.1e}" for key in ("difference", "their_features"))])
    for name, row in found["parity"]["features"].items():
        yield _row([name, "fid", f"{row['theirs']:.8g}", f"{row['ours']:.8g}", "", f"{row['difference']:.1e}"])


def _ratio(race: dict[str, Any], name: str, order: str) -> str:
    return times(race["times_as_fast_as"][f"{name}, {order}"].get(f"ours, {order}"))


def _forward(found: dict[str, Any]) -> Iterator[str]:
    yield from (FORWARD, "")
    yield from _head(["how", "ms an image", "against torch-fidelity", "error against it", "against float64"])
    for name, seconds in sorted(found["image_s"].items(), key=lambda item: -item[1]):
        errors = found["errors"][name]
        figures = [f"{errors[key]:.1e}" for key in ("of_torch_fidelity", "of_float64")]
        yield _row([name, f"{1000 * seconds:.1f}", times(found["times_as_fast"].get(name)), *figures])
    yield f"\n{found['disturbed_slots']} of {len(found['slots'])} slots disturbed by others."


def _bounds(found: dict[str, Any]) -> Iterator[str]:
    yield from (BOUNDS, "")
    yield from _head(["images a side", "features", "features, MiB", "peak beyond, MiB", *found["seconds"]])
    sizes = [f"{found['images']:,}", f"{found['dimensions']:,}", f"{found['features_mib']:.0f}"]
    seconds = [f"{seconds:.0f} s" for seconds in found["seconds"].values()]
    yield _row([*sizes, f"{found['peak_beyond_mib']:.0f}", *seconds])


def _head(columns: list[str]) -> Iterator[str]:
    yield _row(columns)
    yield "|" + " --- |" * len(columns)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
