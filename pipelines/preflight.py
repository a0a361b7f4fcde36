"""What can be known to fail before anything runs."""

import os
from collections.abc import Collection
from pathlib import Path

import yaml

from ganlib.config import DataOptions, ImageSpec, InitialisationOptions, RunConfig, load_config
from ganlib.datasets.files.places import check_driver, is_url, local_path
from ganlib.datasets.items import printable
from ganlib.datasets.sources.opening import is_labelled
from ganlib.errors import UserError
from ganlib.training.requirements import check_devices
from pipelines import paths
from pipelines.tracking.store import store_uri

# What the pipeline writes. Data that overlap it would be read back, or be replaced.
_OURS = (paths.PROCESSED, paths.EXTRACTOR, paths.GENERATOR, paths.REPORTS, paths.SCRATCH)


def check_project(project: Path) -> RunConfig:
    """Validate the parameters; see that this machine, the data and the starting point are what they ask for.

    Also that each stage of dvc.yaml has its time-out. A starting point in the
    model registry is left to the train stage: asking there takes seconds.

    Raises:
        UserError: one line a mistake.
    """
    for needed in (paths.PARAMS, paths.DVC_FILE):
        if not (project / needed).is_file():
            raise UserError(f"{needed}: not found in {project}; run this in the folder of a ganlib project")
    store_uri()  # what cannot be an address is found out now
    config = load_config(project / paths.PARAMS)
    if is_url(config.data.source):
        # What lies there is left to the preprocess stage: asking takes time, and may need credentials.
        check_driver(config.data.source)
    else:
        _check_source(project, config.data.source)
        if config.network.conditional:
            _check_labels(project, config.data)
    check_devices(config.train)
    if config.train.init_from is not None:
        _check_starting_point(project, config, config.train.init_from)
    _check_timeouts(config.flow.timeout_s, _stage_names(project))
    return config


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


def _check_source(project: Path, source: str) -> None:
    """See that `data.source` names a folder with something in it, or a file, and nothing of the pipeline's own."""
    name = f"data.source={source if source.isprintable() else repr(source)}"
    path = project / local_path(source)
    try:
        if not path.exists():
            raise UserError(f"{name}: no such file or folder; put your images there or change data.source")
        for ours in _OURS:
            if _overlap(path, project / ours):
                raise UserError(
                    f"{name}: overlaps {ours}, which the pipeline writes; expected a file or folder of images alone, "
                    "such as data/raw/images"
                )
        if path.is_dir() and not any(path.iterdir()):
            raise UserError(f"{name}: the folder is empty; put images or class folders of images there")
        if path.is_dir():
            check_names(name, path)
    except PermissionError:
        raise UserError(f"{name}: no permission to read it; change its mode or owner") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror}); change data.source") from None


def _check_labels(project: Path, options: DataOptions) -> None:
    """Refuse unlabelled data. A source that cannot be opened is left to the preprocess stage, which says what it is."""
    try:
        labelled = is_labelled(options.model_copy(update={"source": str(project / local_path(options.source))}))
    except UserError:
        return
    if not labelled:
        raise UserError(
            "network.conditional=true: needs labelled data, found images without class folders in "
            f"data.source={printable(options.source)}; put them into class folders or set network.conditional to false"
        )


def _check_starting_point(project: Path, config: RunConfig, options: InitialisationOptions) -> None:
    """See that a local generator to start from is there and fits; only the data know the number of classes."""
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
        content = yaml.safe_load((project / paths.DVC_FILE).read_text(encoding="utf-8"))
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
