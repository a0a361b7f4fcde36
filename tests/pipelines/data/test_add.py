"""`gan data add`: what lies in data/raw afterwards, what DVC keeps, and what params.yaml says."""

import errno
import gzip
import http.server
import os
import shutil
import subprocess
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import fsspec
import numpy as np
import pytest
import yaml
from dvc.repo import Repo
from torchvision import datasets
from typer.testing import CliRunner

from ganlib.config import load_config
from ganlib.datasets.items import Item
from ganlib.datasets.sources.opening import open_source
from ganlib.errors import UserError
from pipelines import cli
from tests import official_sets
from tests.configs import PRESET, ROOT
from tests.ganlib.datasets.containers import write_tar
from tests.ganlib.datasets.image_files import contents, noise_files, pack_images, write_folder, write_zip

# DVC's own, in a library it uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")
PARAMS = PRESET.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git and DVC repository with the real parameters and graph, and a data set in git."""
    root = tmp_path_factory.mktemp("template") / "project"
    (root / "data/raw").mkdir(parents=True)
    write_zip(root / "data/raw/digits.zip", noise_files(2))
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (root / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    Repo.init(str(root)).close()
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(template, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


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


def test_mnist_from_a_folder(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official_sets.mnist(tmp_path / "official", monkeypatch)
    told = gan_data_add("mnist", "--from", str(tmp_path / "official")).splitlines()
    assert contents(project / "data/raw/mnist") == contents(tmp_path / "official")
    assert raw(project) == {"digits.zip", "mnist", "mnist.dvc", ".gitignore"}
    assert cached(project) == set(contents(tmp_path / "official").values())
    expected = PARAMS.replace("data/raw/digits.zip     #", "data/raw/mnist          #", 1)
    assert (project / "params.yaml").read_text(encoding="utf-8") == expected
    assert images(project) == official_sets.expected("0", "1")
    assert told[0].startswith("data/raw/mnist: 4 files, ")
    assert told[1] == "params.yaml: data.source is now data/raw/mnist instead of data/raw/digits.zip"
    assert told[2] == "to share: git add data/raw/mnist.dvc data/raw/.gitignore params.yaml; dvc push"
    assert "gan preset mnist-mlp" in told[3]
    assert told[4] == "next: gan data check, then gan repro"
    tracked = subprocess.run(["git", "status", "--porcelain"], cwd=project, capture_output=True, text=True, check=True)
    assert "data/raw/mnist/" not in tracked.stdout
    assert "data/raw/mnist.dvc" in tracked.stdout

    assert "exists already" in refusal("mnist", "--from", str(tmp_path / "official"))
    gan_data_add("mnist", "--from", str(tmp_path / "official"), "--force")
    (tmp_path / "official" / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"other", mtime=0))
    told_once = refusal("mnist", "--from", str(tmp_path / "official"), "--name", "mnist2")
    assert "t10k-labels-idx1-ubyte.gz: not the official file: its MD5 is " in told_once
    (tmp_path / "official" / "t10k-labels-idx1-ubyte.gz").unlink()
    told_once = refusal("mnist", "--from", str(tmp_path / "official"), "--name", "mnist2")
    assert "files are missing; mnist needs train-images-idx3-ubyte.gz, train-labels" in told_once
    assert raw(project) == {"digits.zip", "mnist", "mnist.dvc", ".gitignore"}


@pytest.mark.parametrize("form", ["archive", "unpacked"])
def test_cifar10_as_archive_and_as_folder(
    form: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = official_sets.cifar10(tmp_path / "official", monkeypatch)
    given = tmp_path / "official"
    if form == "unpacked":
        given = tmp_path / "unpacked"
        write_folder(given / "cifar-10-batches-py", members)
    gan_data_add("cifar10", "--from", str(given))
    kept = ("data_batch_1", "test_batch", "batches.meta")
    batches = {f"cifar-10-batches-py/{name}": members[name] for name in kept}
    assert contents(project / "data/raw/cifar10") == batches
    assert source(project) == "data/raw/cifar10"
    assert images(project) == official_sets.expected("cat", "dog")


def test_svhn_becomes_arrays(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = official_sets.svhn(tmp_path / "official", monkeypatch)
    gan_data_add("svhn", "--from", str(tmp_path / "official"))
    with np.load(project / "data/raw/svhn.npz", allow_pickle=False) as arrays:
        for split, pixels in pictures.items():
            assert (arrays[f"x_{split}"] == pixels).all()
            assert arrays[f"y_{split}"].tolist() == [(9 + n % 2) % 10 for n in range(len(pixels))]
    assert source(project) == "data/raw/svhn.npz"
    assert images(project) == official_sets.expected("9", "0")


def test_stl10_becomes_arrays_with_names_and_the_same_bytes_again(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = official_sets.stl10(tmp_path / "official", monkeypatch)
    gan_data_add("stl10", "--from", str(tmp_path / "official"))
    file = project / "data/raw/stl10.npz"
    with np.load(file, allow_pickle=False) as arrays:
        for split, pixels in pictures.items():
            assert (arrays[f"x_{split}"] == pixels).all()
            assert arrays[f"y_{split}"].tolist() == [("airplane", "truck")[n % 2] for n in range(len(pixels))]
    assert images(project) == official_sets.expected("airplane", "truck")
    before = file.read_bytes()
    gan_data_add("stl10", "--from", str(tmp_path / "official"), "--force")
    assert file.read_bytes() == before
    assert raw(project) == {"digits.zip", "stl10.npz", "stl10.npz.dvc", ".gitignore"}


def test_celeba_becomes_a_zip_with_its_parts(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = official_sets.celeba(tmp_path / "official", monkeypatch)
    assert "conditional=false" in gan_data_add("celeba", "--from", str(tmp_path / "official"))
    with zipfile.ZipFile(project / "data/raw/celeba.zip") as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    assert images(project) == {("train", None): 4, ("test", None): 2}
    folders = ("train", "train", "test")
    assert packed == {f"{folders[n % 3]}/{name}": content for n, (name, content) in enumerate(faces.items())}


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine with the files of MNIST."""
    official_sets.mnist(tmp_path / "official", monkeypatch)
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "official"))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_a_download(project: Path, tmp_path: Path, mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"{mirror}absent/", mirror])
    gan_data_add("mnist")
    assert contents(project / "data/raw/mnist") == contents(tmp_path / "official")
    assert not (project / ".ganlib/downloads/mnist").exists()
    (tmp_path / "official" / "train-images-idx3-ubyte.gz").write_bytes(b"other")
    told = refusal("mnist", "--name", "mnist2")
    assert told.startswith("train-images-idx3-ubyte.gz: cannot be downloaded (HTTP Error 404: File not found; File not")


@pytest.mark.parametrize("name", ["mnist", "celeba"])
def test_without_a_network_it_says_what_to_bring(name: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    told = refusal(name)
    assert "cannot be downloaded (" in told
    assert f"put them into a folder, then gan data add {name} --from FOLDER" in told
    wanted = {"mnist": "train-images-idx3-ubyte.gz", "celeba": "img_align_celeba.zip, list_eval_partition.txt"}
    assert f"get {wanted[name]}" in told
    assert source(project) == "data/raw/digits.zip"
    assert raw(project) == {"digits.zip"}


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
