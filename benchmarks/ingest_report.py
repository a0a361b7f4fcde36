"""The figures of `benchmarks.ingest` as text for people."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.report import times

EXPLANATION = """\
`pil` is the loop that people write: open, convert to RGB, crop the centre square, resize, `np.asarray`, one `np.save`
at the end. `folder` is `torchvision.datasets.ImageFolder` with `Resize` and `CenterCrop` under a `DataLoader`, into
one array; `+N`: with N workers. `ours` is `ganlib.datasets.packing.pack.pack` with all the checks of
`presets/cifar10-dcgan.yaml`, from the empty scratch folder to the renamed result, flushed to the disk. All use the same
resizer, no more than one thread a process, and read files that lie in the page cache. Imports do not count.

Every slot is a process of its own; contenders take turns in random order. "× 1.50 (1.45–1.54; 1.40–1.60)" is the
median of the rounds' ratios with quartiles and extremes. Rounds in which other processes used more than 12 % of a core
count only where no other is left."""
MEMORY = """\
MiB of a process and all that it started, in a run of its own, interpreters and imports included. "Together": what they
held at once, shared pages counted once, and how much of that was no page of a file; sampled. "First" and "helper": the
most that the first and the largest other process had mapped, pages of files included; exact."""
UPDATE = """\
`keep_parts: true`, 2 workers. After the first packing 100 new files are added over all classes, whose names come after
all others of their class ("last") or between them ("random"). "Pushed" is what `dvc push` brought to a remote in a
folder: for "all" the whole set. "raw": the files themselves under DVC, unpacked."""


def render(results: dict[str, Any]) -> str:
    """The whole report, in Markdown."""
    machine = results["machine"]
    facts = ", ".join(f"{name} {value}" for name, value in machine.items() if name not in ("kind", "date"))
    lines = [f"# Packing and reading on {machine['kind']}, {machine['date']}", "", facts + ".", "", EXPLANATION, ""]
    sections: dict[str, tuple[str, Callable[[Any], Iterator[str]]]] = {
        "pack": ("Packing small files", partial(_race, unit="image", units="images")),
        "photos": ("Packing photographs of 1024 × 768 to 256 × 256", partial(_race, unit="image", units="images")),
        "read": ("Random batches of 64, as floats in [-1, 1]", partial(_race, unit="batch", units="batches")),
        "memory": ("Memory of packing", _memory),
        "update": ("A hundred more images", _update),
        "scale": ("What grows with the number of images", _scale),
    }
    for name, (title, text) in sections.items():
        if name in results:
            lines += [f"## {title}", "", *text(results[name]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _race(race: dict[str, Any], unit: str, units: str) -> Iterator[str]:
    bases = list(race["times_as_fast_as"])
    processor = any(race["processor_s"].values())
    columns = ["contender", f"{units}/s", *(f"against `{base}`" for base in bases)]
    columns += [f"processor ms an {unit}"] if processor else []
    yield from _head(columns)
    for name, pace in sorted(race["pace_s"].items(), key=lambda item: -item[1]["median"]):
        cells = [f"`{name}`", f"{1 / pace['median']:.0f} ({1 / pace['most']:.0f}–{1 / pace['least']:.0f})"]
        cells += [times(race["times_as_fast_as"][base].get(name)) for base in bases]
        cells += [f"{1000 * race['processor_s'][name]:.3f}"] if processor else []
        yield _row(cells)
    rounds = 1 + max(slot["round"] for slot in race["slots"])
    yield f"\n{rounds} rounds; {race['disturbed_slots']} of {len(race['slots'])} slots disturbed by others."


def _memory(found: list[dict[str, Any]]) -> Iterator[str]:
    yield from (MEMORY, "")
    yield from _head(["what", "contender", "together", "of it no file", "first", "helper"])
    for each in found:
        figures = [f"{each[key]:.0f}" for key in ("all_mib", "anonymous_mib", "first_mib", "helper_mib")]
        yield _row([each["what"], f"`{each['contender']}`", *figures])


def _update(found: dict[str, Any]) -> Iterator[str]:
    yield from (UPDATE, "")
    yield from _head(
        ["shard_images", "new files", "pack s", "files", "MB", "dvc add s", "dvc push s", "pushed files", "pushed MB"]
    )
    for shard_images, steps in found.items():
        if shard_images == "raw":
            yield _row(["raw", "all", "", "", "", *_versioned(steps)])
            continue
        for what, step in steps.items():
            pack = step["pack"]
            packed = [f"{pack['seconds']:.2f}", str(pack["files"]), f"{pack['bytes'] / 1e6:.1f}"]
            yield _row([shard_images, what, *packed, *_versioned(step)])


def _versioned(step: dict[str, Any]) -> list[str]:
    seconds = [f"{step[key]:.2f}" for key in ("add_s", "push_s")]
    return [*seconds, str(step["pushed_files"]), f"{step['pushed_bytes'] / 1e6:.2f}"]


def _scale(found: dict[str, Any]) -> Iterator[str]:
    yield from _head(["index, images", "add s", "settle s", "duplicates s", "in order s", "bytes an image", "peak MiB"])
    for each in found["index"]:
        seconds = [f"{each[key]:.2f}" for key in ("add", "settle", "duplicates", "in_order")]
        yield _row([f"{each['count']:,}", *seconds, f"{each['bytes'] / each['count']:.0f}", f"{each['peak_mib']:.0f}"])
    yield ""
    yield from _head(["near duplicates, random hashes", "s", "pairs found", "planted", "peak MiB"])
    for each in found["near"]:
        pairs = [str(each["pairs"]), str(each["planted"])]
        yield _row([f"{each['count']:,}", f"{each['seconds']:.2f}", *pairs, f"{each['peak_mib']:.0f}"])
    yield ""
    yield from _head(["order of an epoch, images", "s", "peak MiB"])
    for each in found["permutation"]:
        yield _row([f"{each['count']:,}", f"{each['seconds']:.2f}", f"{each['peak_mib']:.0f}"])
    yield ""
    yield from _head(["shards of one image", "open ms a shard", "batch of 64, ms"])
    for each in found["shards"]:
        opened = 1000 * each["open_s"] / each["shards"]
        yield _row([f"{each['shards']:,}", f"{opened:.3f}", f"{1000 * each['batch_s']:.3f}"])


def _head(columns: list[str]) -> Iterator[str]:
    yield _row(columns)
    yield "|" + " --- |" * len(columns)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
