"""`gan data check` and `gan data show`: what they print, write, and how they end."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from ganlib.errors import UserError
from pipelines import cli
from tests.configs import PRESET
from tests.ganlib.datasets.image_files import contents, encode, noise, write_folder

Configure = Callable[..., Path]


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Writes params.yaml for images in class folders, some of them unusual."""
    monkeypatch.chdir(tmp_path)
    files = {f"class{n % 2}/{n:04d}.png": encode(noise(n, 16, 16)) for n in range(40)}
    files["class0/flat.png"] = encode(np.full((20, 30), 7, np.uint8))
    files["class1/again.png"] = files["class1/0001.png"]
    files["class1/[red]x.png"] = b"no image"
    files["class1/wide.jpg"] = encode(noise(50, 16, 160), "JPEG")
    write_folder(tmp_path / "data/raw/mine", files)

    def write(**policy: str) -> Path:
        values: dict[str, Any] = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
        values["data"] |= {"source": "data/raw/mine", "test_share": 0.4}
        values["data"]["cleaning"]["policy"] |= policy
        values["preprocess"]["workers"] = 1
        values["train"]["batch_size"] = 16
        values["evaluate"]["kid_subset_size"] = 10
        values["register"]["metric"] = "domain/is"
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        return tmp_path

    return write


def rows(output: str) -> list[tuple[str, ...]]:
    """The cells of the tables' lines."""
    lines = (line for line in output.splitlines() if re.match(r"[│┃]", line))
    return [tuple(cell.strip() for cell in re.split("[│┃]", line)[1:-1]) for line in lines]


def test_check_tells_all_and_writes_nothing(configure: Configure) -> None:
    project = configure()
    before = contents(project)
    result = CliRunner().invoke(cli.app, ["data", "check"], catch_exceptions=False)
    assert result.exit_code == 0
    table = rows(result.output)
    counts = {
        label: (int(train), int(test))
        for label, train, test in (row for row in table if row[0][:5] == "class")
        if train.isdigit()
    }
    assert sum(counts["class0"]) == 20
    assert sum(counts["class1"]) == 21
    assert ("near_constant", "drop", "1") in table
    assert ("exact_duplicate", "drop", "1") in table
    assert ("not_an_image", "drop", "1") in table
    assert ("extreme_aspect", "keep", "1") in table
    assert [row[2] for row in table if row[:2] == ("not_an_image", "drop") and len(row) == 4] == ["class1/[red]x.png"]
    assert "3 of 44 files left out: 6.82%" in result.output
    after = {name: content for name, content in contents(project).items() if not name.startswith(".ganlib/")}
    assert after == before


def test_check_tells_of_near_duplicates_across_the_split(configure: Configure, tmp_path: Path) -> None:
    configure()
    shutil.rmtree(tmp_path / "data/raw/mine")
    smooth = [np.kron(np.random.default_rng(n).integers(40, 200, (4, 4)), np.ones((4, 4))) for n in range(20)]
    frames = {f"train/c{n % 2}/{n}.png": encode(picture.astype(np.uint8)) for n, picture in enumerate(smooth)}
    frames |= {f"test/c{n % 2}/{n}.png": encode(smooth[n].astype(np.uint8) + 1) for n in range(12)}
    write_folder(tmp_path / "data/raw/mine", frames)
    result = CliRunner().invoke(cli.app, ["data", "check"], catch_exceptions=False)
    assert "12 of 12 held-out pictures have a near duplicate in the training split" in result.output


def test_check_counts_what_would_fail_the_stage(configure: Configure) -> None:
    configure(not_an_image="fail", extreme_aspect="fail")
    result = CliRunner().invoke(cli.app, ["data", "check"])
    assert isinstance(result.exception, UserError)
    assert str(result.exception).startswith(
        "data.cleaning.policy.extreme_aspect=fail: 1 found, first class1/wide.jpg: "
    )
    assert ("not_an_image", "fail", "1") in rows(result.output)
    assert ("near_constant", "drop", "1") in rows(result.output)


def test_check_names_all_that_does_not_fit(configure: Configure) -> None:
    project = configure(not_an_image="fail")
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["data"]["labels"] = "none"
    values["data"]["cleaning"]["max_dropped_share"] = 0.01
    values["train"]["batch_size"] = 64
    values["evaluate"]["kid_subset_size"] = 60
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    result = CliRunner().invoke(cli.app, ["data", "check"])
    assert isinstance(result.exception, UserError)
    lines = str(result.exception).splitlines()
    assert [re.split("[=:]", line)[0] for line in lines] == [
        "data.cleaning.policy.not_an_image",
        "data.source",
        "network.conditional",
        "train.extractor",
        "evaluate.extractor",
        "register.metric",
        "train.batch_size",
        "evaluate.kid_subset_size",
    ]


def test_check_fails_where_too_much_is_left_out(configure: Configure) -> None:
    project = configure()
    write_folder(project / "data/raw/mine", {f"class0/{n}.png": b"x" for n in range(5)})
    write_folder(project / "data/raw/mine", {f"class0/{n:04d}.txt": b"a caption" for n in range(0, 40, 2)})
    result = CliRunner().invoke(cli.app, ["data", "check"])
    assert isinstance(result.exception, UserError)
    assert str(result.exception).startswith("data.source=data/raw/mine: 8 of 49 files are left out, expected at most")
    assert ("not_an_image", "drop", "6") in rows(result.output)
    assert ("companion", "skip", "20") in rows(result.output)


def test_show_draws_a_sheet_a_class_and_measures(configure: Configure) -> None:
    project = configure()
    result = CliRunner().invoke(cli.app, ["data", "show"], catch_exceptions=False)
    assert result.exit_code == 0
    sheets = {path.name for path in (project / "reports/data").iterdir()}
    assert sheets == {"000-class0.png", "001-class1.png"}
    with Image.open(project / "reports/data/000-class0.png") as sheet:
        assert sheet.size == ((17 * 10 - 1) * 4, (17 * 2 - 1) * 4)
    table = dict(row for row in rows(result.output) if len(row) == 2)
    assert table["most common"].startswith("16 x 16: ")
    assert (table["smallest"], table["largest"]) == ("16 x 16", "160 x 16")
    assert table["modes"].startswith("L ")
    ((_, mean, std),) = [row for row in rows(result.output) if row[0] == "grey"]
    assert float(mean) == pytest.approx(127.5, abs=5)
    assert float(std) == pytest.approx(74, abs=3)

    shutil.rmtree(project / "data/raw/mine/class1")
    assert CliRunner().invoke(cli.app, ["data", "show"]).exit_code == 0
    assert {path.name for path in (project / "reports/data").iterdir()} == {"000-class0.png"}


def test_unlabelled_images_and_classes_with_odd_names(configure: Configure) -> None:
    project = configure()
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["data"]["labels"] = "none"
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    assert CliRunner().invoke(cli.app, ["data", "show", "--output", "sheets"]).exit_code == 0
    assert [path.name for path in (project / "sheets").iterdir()] == ["000-all.png"]
    values["data"]["labels"] = "labels.csv"
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    for odd in ("class1/[red]x.png", "class1/again.png"):
        (project / "data/raw/mine" / odd).unlink()
    names = sorted(
        path.relative_to(project / "data/raw/mine").as_posix() for path in (project / "data/raw/mine").glob("*/*")
    )
    lines = [f"{name},{('../../x', 'é[b]')[index % 2]}" for index, name in enumerate(names)]
    (project / "data/raw/mine/labels.csv").write_text("\n".join(["name,label", *lines]))
    assert CliRunner().invoke(cli.app, ["data", "show", "--output", "sheets"], catch_exceptions=False).exit_code == 0
    assert sorted(path.name for path in (project / "sheets").iterdir()) == ["000-x.png", "001-b.png"]
    checked = CliRunner().invoke(cli.app, ["data", "check"], catch_exceptions=False)
    assert any(row[0] == "é[b]" for row in rows(checked.output))


@pytest.mark.parametrize(("output", "words"), [("data", "holds raw, no contact sheet"), ("params.yaml", "is a file")])
def test_show_replaces_nothing_but_sheets(output: str, words: str, configure: Configure) -> None:
    project = configure()
    before = contents(project)
    result = CliRunner().invoke(cli.app, ["data", "show", "--output", output])
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
    assert contents(project) == before
