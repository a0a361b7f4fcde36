"""Packing on a real Dask cluster, and from a real S3 server."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ganlib.config import PreprocessOptions
from ganlib.datasets.packing.pack import pack
from ganlib.errors import UserError
from tests.ganlib.datasets.image_files import (
    contents,
    data_options,
    noise_files,
    pack_images,
    preprocess_options,
    write_folder,
    write_zip,
)
from tests.toy_project import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.thorough]
FILES = noise_files(700)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images as a folder and a zip, and what is expected of them."""
    root = tmp_path_factory.mktemp("local")
    write_folder(root / "images", FILES)
    write_zip(root / "images.zip", FILES)
    pack_images(data_options(root / "images"), root / "expected")
    return root


@pytest.mark.filterwarnings("default")  # Dask's own
def test_dask_gives_the_same_bytes(local: Path, tmp_path: Path) -> None:
    dask = PreprocessOptions(executor="dask", workers=2, dask_address=None, keep_parts=False)
    pack(data_options(local / "images"), dask, tmp_path / "out", scratch=tmp_path / "scratch")
    assert contents(tmp_path / "out") == contents(local / "expected")


def test_a_dask_cluster_that_is_not_there(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganlib.datasets.packing.dask_executor.CONNECT_TIMEOUT_S", 1)
    nowhere = PreprocessOptions(executor="dask", workers=2, dask_address="tcp://127.0.0.1:1", keep_parts=False)
    with pytest.raises(UserError, match=r"preprocess.dask_address=tcp://127.0.0.1:1: no scheduler answers") as caught:
        pack(data_options(local / "images"), nowhere, tmp_path / "out", scratch=tmp_path / "scratch")
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def bucket(local: Path) -> Iterator[pytest.MonkeyPatch]:
    """A real S3 server that holds the images, found by fsspec and DVC through the environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                wait_until(lambda: _answers(os.environ["AWS_ENDPOINT_URL"]), timeout_s=240, what="the S3 server")
                _fill(local)
                yield patch
            finally:
                server.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code < 500
    except httpx.HTTPError:
        return False


def _fill(local: Path) -> None:
    import fsspec

    store = fsspec.filesystem("s3")
    store.mkdir("photos")
    store.put(str(local / "images"), "photos/images", recursive=True)
    store.put(str(local / "images.zip"), "photos/images.zip")


@pytest.mark.usefixtures("bucket")
@pytest.mark.filterwarnings("default")  # of the S3 client
@pytest.mark.parametrize("place", ["images", "images.zip"])
def test_a_bucket_gives_the_same_bytes(local: Path, tmp_path: Path, place: str) -> None:
    options = data_options(f"s3://photos/{place}")
    pack(options, preprocess_options(2), tmp_path / "out", scratch=tmp_path / "scratch")
    assert contents(tmp_path / "out") == contents(local / "expected")


@pytest.mark.filterwarnings("default")
def test_a_bucket_that_goes_away(bucket: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.source=s3://photos/nothing: ") as caught:
        pack_images(data_options("s3://photos/nothing"), tmp_path / "out")
    assert "\n" not in str(caught.value)
    with bucket.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        with pytest.raises(UserError, match=r"data.source=s3://elsewhere/images: ") as caught:
            pack_images(data_options("s3://elsewhere/images"), tmp_path / "out")
    assert "\n" not in str(caught.value)
