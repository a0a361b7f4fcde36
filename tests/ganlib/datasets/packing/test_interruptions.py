"""Packing that is killed, or runs out of disk, loses nothing and goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganlib.datasets.packed.reading import open_packed
from tests.configs import ROOT
from tests.ganlib.datasets.image_files import contents, data_options, noise_files, pack_images, write_folder

COUNT, SIZE = 1500, 64
CHILD = """
import sys
from pathlib import Path
from ganlib.config import DataOptions, PreprocessOptions
from ganlib.datasets.packing.pack import pack
from ganlib.errors import UserError

if __name__ == "__main__":
    options = DataOptions.model_validate_json(sys.argv[1])
    preprocess = PreprocessOptions(executor="processes", workers=2, dask_address=None, keep_parts=True)
    print("begins", flush=True)
    try:
        pack(options, preprocess, Path(sys.argv[2]), scratch=Path(sys.argv[3]))
    except UserError as error:
        sys.exit(f"error: {error}")
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, and what packing makes of them when nothing happens."""
    root = tmp_path_factory.mktemp("interrupted")
    (root / "child.py").write_text(CHILD)
    write_folder(root / "images", noise_files(COUNT))
    pack_images(data_options(root / "images", image_size=SIZE), root / "expected")
    return root


def start(root: Path, out: Path, scratch: Path) -> "subprocess.Popen[str]":
    options = data_options(root / "images", image_size=SIZE).model_dump_json()
    child = subprocess.Popen(
        [sys.executable, str(root / "child.py"), options, str(out), str(scratch)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "begins\n"
    return child


# Ten moments of about 1.5 s; most fall on decoding, some on looking for duplicates and on writing.
MOMENTS = [pytest.param(tenth, marks=[] if tenth in (2, 6, 9) else pytest.mark.slow) for tenth in range(10)]


@pytest.mark.parametrize("tenth", MOMENTS)
def test_killed_then_run_again_gives_the_same_bytes(root: Path, tmp_path: Path, tenth: int) -> None:
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    child = start(root, out, scratch)
    time.sleep(0.1 + 0.15 * tenth)
    # Alone, or with its workers: both happen to people.
    kill = os.kill if tenth % 2 else os.killpg
    kill(child.pid, signal.SIGKILL)
    child.wait(timeout=20)
    child.communicate()
    if out.exists():
        open_packed(out)  # it is whole, or not there
    wait_for_workers(scratch)
    pack_images(data_options(root / "images", image_size=SIZE), out, scratch=scratch)
    assert contents(out) == contents(root / "expected")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "scratch"}


def wait_for_workers(scratch: Path) -> None:
    """Until those that lost their parent have left."""
    before: list[str] = []
    while before != (now := sorted(path.name for path in scratch.rglob("*"))):
        before = now
        time.sleep(0.2)


def test_going_on_decodes_only_what_is_missing(root: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    pack_images(data_options(root / "images", image_size=SIZE), tmp_path / "out", scratch=scratch)
    parts = sorted((scratch / "parts").glob("*.npy"))
    dates = {path: path.stat().st_mtime_ns for path in parts}
    assert len(parts) > 3
    parts[0].with_suffix(".json").unlink()
    parts[1].write_bytes(parts[1].read_bytes()[:-1] + b"x")
    write_folder(root / "more", noise_files(COUNT))
    pack_images(data_options(root / "images", image_size=SIZE), tmp_path / "out", scratch=scratch)
    made_again = {path for path in parts if path.stat().st_mtime_ns != dates[path]}
    assert made_again == set(parts[:2])
    assert contents(tmp_path / "out") == contents(root / "expected")


SMALL_DISK = """
mount -t tmpfs -o size=4m tmpfs "$2" || exit 77
cp -r "$3" "$2/out"
"$0" "$1" "$4" "$2/out" "$2/scratch"; echo "rc $?"
diff -r "$3" "$2/out" && echo "the previous output is intact"
mount -o remount,size=64m "$2"
"$0" "$1" "$4" "$2/out" "$2/scratch"; echo "rc $?"
diff -r "$5" "$2/out" && echo "the new output is whole"
"""


@pytest.mark.thorough
def test_a_full_disk_is_one_line_and_the_next_run_goes_on(root: Path, tmp_path: Path) -> None:
    """On a file system of 4 MiB, in a mount namespace of its own."""
    (tmp_path / "disk").mkdir()
    write_folder(tmp_path / "few", noise_files(12))
    pack_images(data_options(tmp_path / "few"), tmp_path / "previous")
    options = data_options(root / "images", image_size=SIZE).model_dump_json()
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, sys.executable,
         str(root / "child.py"), str(tmp_path / "disk"), str(tmp_path / "previous"), options, str(root / "expected")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode == 77 or done.stderr.startswith("unshare: "):
        pytest.skip("no mount namespaces here")
    assert done.stdout.splitlines() == [
        "begins", "rc 1", "the previous output is intact", "begins", "rc 0", "the new output is whole",
    ]  # fmt: skip
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "No space left on device" in line
    assert "run again" in line


GROWING_ROOM = """
import shutil
import sys
from pathlib import Path
from ganlib.config import DataOptions, PreprocessOptions
from ganlib.datasets.packed.reading import open_packed
from ganlib.datasets.packing.pack import pack
from ganlib.errors import UserError

if __name__ == "__main__":
    options = DataOptions.model_validate_json(sys.argv[1])
    preprocess = PreprocessOptions(executor="processes", workers=1, dask_address=None, keep_parts=False)
    disk = Path(sys.argv[2])
    for free in range(1 << 14, 1 << 17, int(sys.argv[3])):
        shutil.rmtree(disk / "scratch", ignore_errors=True)
        try:
            with (disk / "filler").open("wb", buffering=0) as filler:
                while filler.write(bytes(4096)):
                    pass
        except OSError:
            pass
        with (disk / "filler").open("r+b") as filler:
            filler.truncate(filler.seek(0, 2) - free)
        try:
            pack(options, preprocess, disk / "out", scratch=disk / "scratch")
        except UserError as error:
            assert not (disk / "out").exists()
            print(error)
        else:
            open_packed(disk / "out")
            print("packed")
            break
"""


@pytest.mark.thorough
@pytest.mark.parametrize("step_bytes", [3 * 4096, pytest.param(4096, marks=pytest.mark.slow)])
def test_wherever_the_disk_is_full_it_is_one_line(step_bytes: int, tmp_path: Path) -> None:
    """With some pages more of room each time, until it suffices."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "child.py").write_text(GROWING_ROOM)
    write_folder(tmp_path / "few", noise_files(12))
    options = data_options(tmp_path / "few", image_size=32).model_dump_json()
    mount = 'mount -t tmpfs -o size=1m tmpfs "$3" && exec "$0" "$1" "$2" "$3" "$4" || exit 77'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, sys.executable,
         str(tmp_path / "child.py"), options, str(tmp_path / "disk"), str(step_bytes)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    if done.returncode == 77 or done.stderr.startswith("unshare: "):
        pytest.skip("no mount namespaces here")
    *failures, last = done.stdout.splitlines()
    assert last == "packed", done.stderr
    assert {line.partition(": cannot")[0].rpartition("/")[2] for line in failures} == {"scratch", "parts", "out"}
    for line in failures:
        assert "cannot be written" in line
        assert "No space left" in line or "disk is full" in line
