"""`gan data add`: what lies in data/raw afterwards, what DVC keeps, and what params.yaml says."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import yaml
from dvc.repo import Repo
from typer.testing import CliRunner

from ganlib.config import load_config
from pipelines import cli

# DVC's own, in a library it uses.
from tests.adding import PARAMS, cached, gan_data_add, images, raw, refusal, source
from tests.ganlib.datasets.containers import write_tar
from tests.ganlib.datasets.image_files import contents, noise_files, pack_images, write_folder, write_zip

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


def test_ones_own_folder(project: Path, tmp_path: Path) -> None:
    files = noise_files(4)
    files |= {f"class1/{n}.txt": b"%d" % n for n in range(30)}
    junk = dict.fromkeys((".DS_Store", ".git/config", "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg", "Thumbs.db"), b"x")
    mine = write_folder(tmp_path / "photos", {**files, **junk, "labels.csv": b"a,b"})
    (mine / "outside.png").symlink_to(tmp_path / "project/params.yaml")
    (mine / "nowhere.png").symlink_to("absent")
    (mine / "again.png").symlink_to("class0/0000.png")
    os.mkfifo(mine / "pipe.png")
    told = gan_data_add(str(mine), "--name", "mine")
    again = {"again.png": files["class0/0000.png"], "labels.csv": b"a,b"}
    assert contents(project / "data/raw/mine") == files | again
    assert not (project / "data/raw/mine/again.png").is_symlink()
    assert all(name in told.splitlines()[0] for name in ("outside.png", "nowhere.png", "pipe.png"))
    assert source(project) == "data/raw/mine"
    assert "advice: data/raw/mine: found 5 usable pictures, expected 80 or more" in told
    assert contents(mine).keys() >= files.keys()

    for name, content in noise_files(1, first=4).items():
        (mine / name).write_bytes(content)
    assert "data/raw/mine: exists already" in refusal(str(mine), "--name", "mine")
    gan_data_add(str(mine), "--name", "mine", "--force")
    assert contents(project / "data/raw/mine") == files | noise_files(5) | again
    assert len(cached(project)) == 36
    assert raw(project) == {"digits.zip", "mine", "mine.dvc", ".gitignore"}


def test_ones_own_archive_keeps_its_ending(project: Path, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "Photos.2024.ZIP", noise_files(4))
    gan_data_add(str(archive), "--name", "mine")
    assert (project / "data/raw/mine.zip").read_bytes() == archive.read_bytes()
    tar = write_tar(tmp_path / "photos.tar.zst", noise_files(2))
    gan_data_add(str(tar), "--name", "mine")
    assert source(project) == "data/raw/mine.tar.zst"


def test_what_is_in_place_is_not_copied(project: Path) -> None:
    inside = write_folder(project / "data/raw/here", noise_files(2))
    number = (inside / "class0").stat().st_ino
    gan_data_add("data/raw/here")
    assert (inside / "class0").stat().st_ino == number
    assert source(project) == "data/raw/here"
    assert (project / "data/raw/here.dvc").exists()
    assert "leave the name out" in refusal("data/raw/here", "--name", "there")
    told = gan_data_add("data/raw/digits.zip")
    assert "kept in git" in told
    assert source(project) == "data/raw/digits.zip"
    assert not (project / "data/raw/digits.zip.dvc").exists()


def test_what_git_keeps_is_never_replaced(project: Path, tmp_path: Path) -> None:
    before = (project / "data/raw/digits.zip").read_bytes()
    archive = write_zip(tmp_path / "x.zip", noise_files(4))
    assert "is kept in git" in refusal(str(archive), "--name", "digits", "--force")
    assert (project / "data/raw/digits.zip").read_bytes() == before


@pytest.mark.parametrize("name", ["dvc.yaml", "c/old.png.dvc"])
def test_what_dvc_would_take_for_its_own_is_no_data(name: str, project: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", {**noise_files(2), name: b"stages: {}"})
    told = refusal(str(folder), "--name", "mine")
    assert told.startswith(f"{folder}: holds {name}, which DVC would take for part of this project")
    assert raw(project) == {"digits.zip"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cifar"], "did you mean cifar10?"),
        (["absent/x"], "absent/x: no such file or folder; the named sets are mnist, "),
        (["data/raw"], "holds data/raw itself"),
        (["."], "holds data/raw itself"),
        (["/dev/null", "--name", "x"], "neither a folder nor a regular file"),
        (["params.yaml"], "--name: missing"),
        (["params.yaml", "--name", "../x"], "--name ../x: expected small letters"),
        (["params.yaml", "--name", "Ä\n"], "expected small letters"),
        (["params.yaml", "--name", "-x"], "expected small letters"),
        (["params.yaml", "--name", "x", "--from", "."], "--from: is for the named sets"),
        (["mnist", "--from", "absent"], "--from absent: no such folder"),
        (["s3://key:secret@bucket/x"], "holds a user name or password"),
        (["file:///absent", "--name", "x"], "file:///absent: no such file or folder"),
        (["a\0b"], "no such file"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(arguments: list[str], words: str, project: Path) -> None:
    told = refusal(*arguments)
    assert words in told
    assert "secret" not in told
    assert raw(project) == {"digits.zip"}
    assert (project / "params.yaml").read_text(encoding="utf-8") == PARAMS


def test_names_that_dvc_cannot_keep_are_looked_for_first(project: Path, tmp_path: Path) -> None:
    before = contents(project)
    mine = write_folder(tmp_path / "mine", noise_files(4))
    latin = os.fsdecode(b"caf\xe9.png")
    (mine / "class1" / latin).write_bytes(b"x")
    words = "holds class1/caf\\udce9.png, whose name is not UTF-8 and which DVC cannot keep; rename it"
    assert f"{mine}: {words}" in refusal(str(mine), "--name", "mine")
    assert contents(project) == before
    shutil.copytree(mine, project / "data/raw/mine")
    assert f"data/raw/mine: {words}" in refusal("data/raw/mine")
    (project / "data/raw/mine/class1" / latin).unlink()
    gan_data_add("data/raw/mine")
    # What is hidden is not copied, and so not looked at.
    (mine / "class1" / latin).rename(mine / "class1" / f".{latin}")
    gan_data_add(str(mine), "--name", "other")
    assert contents(project / "data/raw/other") == contents(project / "data/raw/mine")
    (tmp_path / latin).write_bytes(b"x")
    shutil.move(tmp_path / latin, project / "data/raw")
    assert "its name is not UTF-8 or has a control character" in refusal(f"data/raw/{latin}")


@pytest.fixture
def bucket() -> Iterator[str]:
    """The URL of a folder of images in memory."""
    system = fsspec.filesystem("memory")
    for name, content in noise_files(2).items():
        system.pipe_file(f"memory://bucket/photos/{name}", content)
    yield "memory://bucket/photos"
    system.rm("memory://bucket", recursive=True)


def test_data_at_a_url_stay_there(project: Path, bucket: str) -> None:
    told = gan_data_add(bucket, "--name", "mine")
    assert f"{bucket}: left there and read from there" in told
    assert source(project) == bucket
    assert raw(project) == {"digits.zip"}
    assert refusal("memory://bucket/absent").startswith("memory://bucket/absent: no such folder or file")
    assert source(project) == bucket


LINKED = "a link that leads outside the folder; cp -rL FOLDER COPY makes a copy with the files themselves"


def test_what_cannot_be_read_is_not_added_and_replaces_nothing(project: Path, tmp_path: Path) -> None:
    good = noise_files(12)
    gan_data_add(str(write_folder(tmp_path / "good", good)), "--name", "mine")
    gan_data_add(str(write_folder(tmp_path / "other", noise_files(2))), "--name", "other")
    links = tmp_path / "links"
    for name in good:
        (links / name).parent.mkdir(parents=True, exist_ok=True)
        (links / name).symlink_to(tmp_path / "good" / name)
    phone = write_folder(tmp_path / "phone", {"IMG_1.HEIC": b"\0\0\0\x18ftypheic" + bytes(9), "IMG_1.AAE": b"<xml>"})
    half = write_folder(tmp_path / "half", noise_files(2, first=12))
    (half / "outside.png").symlink_to(tmp_path / "good/class0/0000.png")
    linked = write_folder(tmp_path / "linked", noise_files(2, first=12))
    (linked / "cow").symlink_to(tmp_path / "good/class0")
    (tmp_path / "cut.zip").write_bytes(write_zip(tmp_path / "x.zip", good).read_bytes()[:-30])
    for what, words in (
        (linked, "linked: cow is a link to a folder, and such links are not followed; cp -rL FOLDER COPY makes"),
        (links, f"links: found no usable image among 12 files: 12 x {LINKED}; expected"),
        (phone, "phone: found no usable image among 2 files: 1 x .aae beside images; 1 x HEIC, which is not read; con"),
        (
            half,
            "half: 1 of 3 files cannot be copied, expected at most the share data.cleaning.max_dropped_share=0.1; ",
        ),
        (write_folder(tmp_path / "notes", {"notes.txt": b"x"}), "notes: found no usable image among 1 files: 1 x .txt"),
    ):
        assert words in refusal(str(what), "--name", "mine", "--force")
        assert contents(project / "data/raw/mine") == good
        assert source(project) == "data/raw/other"
    assert "cut.zip: not a zip, or a damaged one" in refusal(str(tmp_path / "cut.zip"), "--name", "zipped")
    shutil.copytree(phone, project / "data/raw/phone")
    assert "data/raw/phone: found no usable image" in refusal("data/raw/phone")
    assert source(project) == "data/raw/other"
    assert raw(project) == {"digits.zip", ".gitignore", "mine", "mine.dvc", "other", "other.dvc", "phone"}


@pytest.mark.parametrize(("kind", "elsewhere"), [("symlink", False), ("symlink", True), ("hardlink", False)])
def test_what_dvc_links_into_its_cache_is_read_and_copied(
    kind: str, elsewhere: bool, project: Path, tmp_path: Path
) -> None:
    with Repo(str(project)).config.edit() as config:
        config["cache"]["type"] = [kind]
        if elsewhere:
            config["cache"]["dir"] = str(tmp_path / "cache")
    files = noise_files(12) | {"dataset.json": b'{"labels": null}'}
    gan_data_add(str(write_folder(tmp_path / "photos", files)), "--name", "mine")
    assert (project / "data/raw/mine/class0/0000.png").is_symlink() == (kind == "symlink")
    assert images(project).total() == 12
    options = load_config(project / "params.yaml").data
    assert pack_images(options.model_copy(update={"test_share": 0.5}), tmp_path / "packed").dropped == 0
    gan_data_add("data/raw/mine")
    gan_data_add(str(write_folder(tmp_path / "photos", noise_files(1, first=12))), "--name", "mine", "--force")
    assert images(project).total() == 13
    (tmp_path / "second").mkdir()
    shutil.copytree(project / "data/raw/mine", tmp_path / "second/mine", symlinks=True)
    gan_data_add(str(tmp_path / "second/mine"), "--name", "again")
    assert contents(project / "data/raw/again") == files | noise_files(13)


def test_a_disk_that_fills_leaves_nothing(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = write_folder(tmp_path / "photos", noise_files(4))
    full = OSError(errno.ENOSPC, "No space left on device", "data/raw/.mine.partial/class1/0001.png")

    def write_half(_source: str, target: Path) -> None:
        target.write_bytes(b"half")
        raise full

    monkeypatch.setattr("shutil.copy2", write_half)
    result = CliRunner().invoke(cli.app, ["data", "add", str(mine), "--name", "mine"])
    assert result.exception is full
    assert raw(project) == {"digits.zip"}
    assert source(project) == "data/raw/digits.zip"


def test_a_refusal_of_dvc_is_one_line(project: Path) -> None:
    write_folder(project / "data/raw/outer/inner", noise_files(2))
    (project / "kept.dvc").write_text("outs:\n- path: data/raw/outer/inner\n")
    told = refusal("data/raw/outer")
    assert told.startswith("data/raw/outer: is in place, but DVC does not keep it yet (Cannot add ")
    assert source(project) == "data/raw/digits.zip"


def test_a_part_of_what_dvc_keeps(project: Path) -> None:
    write_folder(project / "data/raw/outer/inner", noise_files(2))
    gan_data_add("data/raw/outer")
    assert "data/raw/outer/inner: 2 files, 0.0 MB, kept by DVC (data/raw/outer.dvc)" in gan_data_add(
        "data/raw/outer/inner"
    )
    assert source(project) == "data/raw/outer/inner"


@pytest.mark.parametrize(
    ("text", "source", "expected"),
    [
        ("{data: {source: a, x: 1}}", "b/c", "{data: {source: b/c, x: 1}}"),
        ('data:\r\n  source: "a b"  # why\r\n', "s3://b/c d", 'data:\r\n  source: "s3://b/c d"  # why\r\n'),
        ("data:\n  source: >-\n    a\n    b\n  x: 1\n", "c", "data:\n  source: c\n  x: 1\n"),
        ("data: {source: a}", "on", 'data: {source: "on"}'),
        ("data: {source: a}", "1.5", 'data: {source: "1.5"}'),
        ("data:\n  source: a # x\n", "ä/ö", "data:\n  source: ä/ö  # x\n"),
        ("\ufeffdata:\n  source: a\n", "b", "\ufeffdata:\n  source: b\n"),
    ],
)
def test_one_scalar_is_replaced(text: str, source: str, expected: str) -> None:
    from pipelines.data.parameters import with_source

    replaced = with_source(text, source)
    assert replaced == expected
    assert yaml.safe_load(replaced)["data"]["source"] == source


def test_a_shared_source_is_left_to_the_user(project: Path, bucket: str) -> None:
    text = PARAMS.replace("source: data/raw/digits.zip", "source: &where digits", 1)
    text = text.replace("experiment: digits", "experiment: *where", 1)
    (project / "params.yaml").write_text(text, encoding="utf-8")
    told = refusal(bucket)
    assert told.startswith("params.yaml: data.source cannot be changed alone")
    assert (project / "params.yaml").read_text(encoding="utf-8") == text


def test_outside_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "params.yaml: no such file" in refusal("mnist")
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    assert "not a DVC project" in refusal("mnist")
