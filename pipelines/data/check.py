"""`gan data check`: what the preprocess stage would find, without writing any of it."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ganlib.config import DataOptions, load_config, misfits
from ganlib.datasets.files.places import is_url, local_path
from ganlib.datasets.items import printable
from ganlib.datasets.packing.pack import unusable
from ganlib.datasets.packing.survey import Survey
from ganlib.errors import UserError
from pipelines import paths
from pipelines.console import plain_console
from pipelines.data.surveying import TABLE_WIDTH, surveyed
from pipelines.preflight import check_names

_CLASSES_SHOWN = 20
_CASES_SHOWN = 3


def check_data(project: Path) -> None:
    """Read and clean all images of `data.source` and print what was found.

    Files whose policy is `fail` are counted instead of ending it at the first.

    Raises:
        UserError: a stage would fail, too: the parameters are not valid, the source cannot
            be used, or a line each where a policy says `fail`, too little is left to train
            on, or a parameter asks for more than there is.
    """
    config = load_config(project / paths.PARAMS)
    lenient, failing = _without_fail(config.data)
    with surveyed(project, lenient, config.preprocess) as found:
        console = plain_console(TABLE_WIDTH)
        for table in (_images(found), _cases(found, failing), _examples(found, failing)):
            console.print(table)
        _tell_share(console, found, config.data)
        if found.overlap is not None:
            console.print(found.overlap, highlight=False, soft_wrap=True)
        lines = [*_failed(found, failing), *unusable(config.data, found), *misfits(config, found.counts)]
        if lines:
            raise UserError("\n".join(lines))
    folder = project / local_path(config.data.source)
    if not is_url(config.data.source) and folder.is_dir():
        check_names(f"data.source={printable(config.data.source)}", folder)


def _failed(found: Survey, failing: frozenset[str]) -> Iterator[str]:
    """A line for each kind of file of which the policy says `fail`."""
    for kind in sorted(failing & found.cases.keys()):
        count = sum(found.cases[kind].values())
        name, detail = next((name, detail) for name, each, _, detail in found.findings() if each == kind)
        yield (
            f"data.cleaning.policy.{kind}=fail: {count} found, first {name}: {detail}; remove them or set the "
            "policy to drop or fix"
        )


def _without_fail(options: DataOptions) -> tuple[DataOptions, frozenset[str]]:
    """The options with every `fail` turned into `drop`, and which kinds these are."""
    policy = options.cleaning.policy
    failing = frozenset(kind for kind, action in policy.model_dump().items() if action == "fail")
    dropping = policy.model_copy(update=dict.fromkeys(failing, "drop"))
    cleaning = options.cleaning.model_copy(update={"policy": dropping})
    return options.model_copy(update={"cleaning": cleaning}), failing


def _images(found: Survey) -> Table:
    images = found.images
    table = Table("class", *images, title="Images", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for label in found.classes[:_CLASSES_SHOWN]:
        table.add_row(printable(label), *(str(counts[label]) for counts in images.values()))
    if len(found.classes) > _CLASSES_SHOWN:
        rest = found.classes[_CLASSES_SHOWN:]
        sums = (str(sum(counts[label] for label in rest)) for counts in images.values())
        table.add_row(f"({len(rest)} more)", *sums)
    name = "all" if found.classes else "all, unlabelled"
    table.add_row(name, *(str(sum(counts.values())) for counts in images.values()))
    return table


def _cases(found: Survey, failing: frozenset[str]) -> Table:
    table = Table("kind", "action", title="Unusual files", title_justify="left")
    table.add_column("cases", justify="right")
    for kind, actions in found.cases.items():
        for action, count in actions.items():
            table.add_row(kind, "fail" if kind in failing else action, str(count))
    if not found.cases:
        table.add_row("none", "", "0")
    return table


def _examples(found: Survey, failing: frozenset[str]) -> Table:
    table = Table("kind", "action", "file", "detail", title="The first few of each kind", title_justify="left")
    for name, kind, action, detail in sorted(_first_of_each(found), key=lambda case: (case[1], case[0])):
        table.add_row(kind, "fail" if kind in failing else action, name, detail)
    return table


def _first_of_each(found: Survey) -> Iterator[tuple[str, str, str, str]]:
    wanted = {kind: min(sum(actions.values()), _CASES_SHOWN) for kind, actions in found.cases.items()}
    for case in found.findings():
        if not any(wanted.values()):
            return
        if wanted[case[1]]:
            wanted[case[1]] -= 1
            yield case


def _tell_share(console: Console, found: Survey, options: DataOptions) -> None:
    share = found.dropped / found.files
    console.print(
        f"{found.dropped} of {found.files} files left out: {share:.2%}, "
        f"data.cleaning.max_dropped_share={options.cleaning.max_dropped_share} allows "
        f"{options.cleaning.max_dropped_share:.2%}",
        soft_wrap=True,
    )
