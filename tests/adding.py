"""What the tests of `gan data add` share: running it, and what lies where afterwards."""

from collections import Counter
from itertools import chain
from pathlib import Path

from typer.testing import CliRunner

from ganlib.config import load_config
from ganlib.datasets.items import Item
from ganlib.datasets.sources.opening import open_source
from ganlib.errors import UserError
from pipelines import cli
from tests.configs import PRESET

# DVC's own, in a library it uses.


PARAMS = PRESET.read_text(encoding="utf-8")


def gan_data_add(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, ["data", "add", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def refusal(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, ["data", "add", *arguments])
    assert isinstance(result.exception, UserError), result.output
    assert str(result.exception).isprintable()
    return str(result.exception)


def source(project: Path) -> str:
    return load_config(project / "params.yaml").data.source


def raw(project: Path) -> set[str]:
    return {path.name for path in (project / "data/raw").iterdir()}


def images(project: Path) -> Counter[tuple[str | None, str | None]]:
    """How many images of each split and class our sources find."""
    parts = open_source(load_config(project / "params.yaml").data).parts()
    items = chain.from_iterable(part.items() for part in parts)
    return Counter((item.split, item.label) for item in items if isinstance(item, Item))


def cached(project: Path) -> set[bytes]:
    """What DVC's cache holds, but for its lists of folders."""
    files = (project / ".dvc/cache/files/md5").rglob("*")
    return {path.read_bytes() for path in files if path.is_file() and path.suffix != ".dir"}
