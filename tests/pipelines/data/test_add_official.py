"""`gan data add` of the official data sets, from small files in their formats."""

import gzip
import http.server
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from tests import official_sets

# DVC's own, in a library it uses.
from tests.adding import PARAMS, cached, gan_data_add, images, raw, refusal, source
from tests.ganlib.datasets.image_files import contents, write_folder

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


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
