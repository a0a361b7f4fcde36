"""The figures as text for people."""

from collections.abc import Iterator
from typing import Any

from benchmarks.recipes import FAMILIES, LAZY_STEPS

EXPLANATION = f"""\
`folder` is the plain loop as public examples write it: `ImageFolder` and a `DataLoader` with its default of no
workers, PIL transforms, the critic not frozen in the generator's step, separate backward calls, PyTorch's own
convolutions and spectral norm, default memory format, default Adam, `.item()` at every step, the average in a Python
loop. `memory` is the same loop over images that lie decoded in memory. `arithmetic` is what our networks cost by
themselves, over the same tensors again and again. `ours` is `ganlib.training.iteration.Iteration` over packed data, a
log point at the end of each slot, with the settings of the family's preset, `train.deterministic` for one; the plain
loop runs with PyTorch's defaults, and with the limits to which glibc's allocator grows by itself, where `ours` keeps
freed memory. All start from equal weights and take equal batches. For DCGAN and SNGAN both use
the images of the critic's step in the generator's step too (`train.reuse_fakes`), as public scripts with one critic
step do; `+fresh` makes new ones, which costs one more pass of the generator; for R3GAN both make new ones, as its
authors' code does. `+lazy` is another recipe: R1 and R2 at every {LAZY_STEPS}th step.

Ratios are taken round by round between slots in one process, in random order; "× 1.50 (1.45–1.54; 1.40–1.60)" is the
median with quartiles and extremes. A slot in which other processes used more than 12 % of a core was held again, up to
three times; rounds that stayed disturbed count only where no other is left."""
CPU_CLOCK = """\
The machine was busy with other work: seconds are those that the process itself computed, on one thread, so that no
slot was held again. Shared caches and memory still make them longer and less steady than on a quiet machine."""


def render(results: dict[str, Any]) -> str:
    """The whole report, in Markdown."""
    machine = results["machine"]
    facts = ", ".join(f"{name} {value}" for name, value in machine.items() if name not in ("kind", "date"))
    lines = [f"# The training step on {machine['kind']}, {machine['date']}", "", facts + ".", "", EXPLANATION, ""]
    if machine.get("clock") == "cpu":
        lines += [CPU_CLOCK, ""]
    for name, measured in results["families"].items():
        lines += [*_family(name, measured), ""]
    lines += _contention(results.get("contention", {}))
    return "\n".join(lines).rstrip() + "\n"


def _family(name: str, measured: dict[str, Any]) -> Iterator[str]:
    yield f"## {FAMILIES[name].title}"
    for heading, key in (("Beside the plain loop", "race"), ("What wins, each alone", "wins")):
        if key in measured:
            yield from ("", f"### {heading}", "", *_race(measured[key], measured))
    if "compile" in measured:
        yield from ("", "### torch.compile, from an empty cache", "", *_race(measured["compile"], measured))
    if "shares" in measured:
        yield from ("", "### Outside the networks' arithmetic", "", *_shares(measured))


def _race(race: dict[str, Any], measured: dict[str, Any]) -> Iterator[str]:
    bases = list(race["times_as_fast_as"])
    memory, operations = measured.get("memory", {}), measured.get("operations", {})
    extras = [*(["peak MiB (added to imports)"] if memory else []), *(["TFLOP/s"] if operations else [])]
    columns = ["contender", "ms an iteration", "images/s", *(f"against `{base}`" for base in bases), "start s", *extras]
    yield "| " + " | ".join(columns) + " |"
    yield "|" + " --- |" * len(columns)
    for name, pace in sorted(race["iteration_s"].items(), key=lambda item: -item[1]["median"]):
        cells = [f"`{name}`", f"{1000 * pace['median']:.1f}", f"{race['batch_size'] / pace['median']:.0f}"]
        cells += [times(race["times_as_fast_as"][base].get(name)) for base in bases]
        cells.append(f"{race['start_s'][name]:.1f}")
        if memory:
            peak = memory.get(name)
            cells.append(f"{peak['peak_mib']:.0f} ({peak['added_mib']:.0f})" if peak else "")
        if operations:
            cells.append(_rate(operations.get(name), pace["median"], measured.get("peak_tflops")))
        yield "| " + " | ".join(cells) + " |"
    for name, reason in race["failures"].items():
        yield f"\n`{name}` does not run: {reason}"
    yield f"\nBatch {race['batch_size']}; {race['disturbed_slots']} of {race['slots']} slots disturbed by others."


def _shares(measured: dict[str, Any]) -> Iterator[str]:
    race = measured["race"]
    against = race["times_as_fast_as"].get("ours", {}).get("arithmetic")
    if against:
        # r times as fast: the arithmetic takes 1 / r of our time.
        median, low, high = (100 * (1 - 1 / against[key]) for key in ("median", "lower", "upper"))
        yield (
            f"By difference to the same passes and updates on fixed tensors: {median:.1f} % "
            f"(quartiles {low:.1f} to {high:.1f} %)."
        )
    parts = {what: share for what, share in measured["shares"].items() if what != "whole"}
    listed = ", ".join(f"{what} {100 * share:.2f} %" for what, share in sorted(parts.items(), key=lambda i: -i[1]))
    yield f"Timed inside the iteration: {100 * measured['shares']['whole']:.2f} %, of which {listed}."


def _contention(measured: dict[str, Any]) -> Iterator[str]:
    if not measured:
        return
    yield from ("## Beside one process that is always busy", "")
    yield "| family | setting | alone ms | beside ms | slower |"
    yield "| --- | --- | --- | --- | --- |"
    for setting, families in measured.items():
        for name, figures in families.items():
            alone, beside = (1000 * figures[key]["median"] for key in ("alone_s", "beside_s"))
            yield f"| {name} | {setting} | {alone:.0f} | {beside:.0f} | {times(figures['slower'])} |"


def times(spread: dict[str, Any] | None) -> str:
    """A ratio with its spread; `1` for what it is a ratio to."""
    if spread is None:
        return "1"
    figures = [f"{spread[key]:.2f}" for key in ("median", "lower", "upper", "least", "most")]
    return "× {} ({}–{}; {}–{})".format(*figures)


def _rate(operations: float | None, seconds: float, peak_tflops: float | None) -> str:
    if operations is None:
        return ""
    rate = operations / seconds / 1e12
    return f"{rate:.2f}" + (f" ({100 * rate / peak_tflops:.1f} % of the dense bf16 peak)" if peak_tflops else "")
