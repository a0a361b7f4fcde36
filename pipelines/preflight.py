"""What can be known to fail before anything runs."""

from pathlib import Path

from ganlib.config import RunConfig, load_config
from ganlib.errors import UserError
from pipelines import paths


def check_project(project: Path) -> RunConfig:
    """Validate the parameters and see that the data are there.

    Raises:
        UserError: one line a mistake.
    """
    for needed in (paths.PARAMS, paths.DVC_FILE):
        if not (project / needed).is_file():
            raise UserError(f"{needed}: not found in {project}; run this in the folder of a ganlib project")
    config = load_config(project / paths.PARAMS)
    check_source(project, config.data.source)
    return config


def check_source(project: Path, source: str) -> None:
    """See that `data.source` names a folder with something in it, or a file.

    Raises:
        UserError: missing, empty or not readable.
    """
    path = project / source
    try:
        if path.is_dir() and not any(path.iterdir()):
            raise UserError(f"data.source={source}: the folder is empty; put images or class folders of images there")
        if not path.exists():
            raise UserError(
                f"data.source={source}: no such file or folder; put your images there or change data.source"
            )
    except PermissionError:
        raise UserError(f"data.source={source}: no permission to read it; change its mode or owner") from None
