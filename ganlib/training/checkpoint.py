"""Checkpoints that survive a kill at any moment and refuse to be mistaken for others."""

import fcntl
import hashlib
import json
import os
import pickle
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import torch

from ganlib.config import TrainOptions
from ganlib.replacing import replacing
from ganlib.training.distributed import ALONE, Ranks
from ganlib.training.ingredients import Ingredients, differences
from ganlib.training.state import TrainState

STATE = "state.pt"
MANIFEST = "manifest.json"
FINISHED = "finished.json"
RUN_KEY = "run_key"
SPENT = "spent_s"
LOCK = "lock"
DIGITS = 12
STOP_MARK = "-stop"
KEPT_TRAININGS = 5
SHOWN = 3  # of what two trainings differ in


@dataclass(frozen=True)
class CheckpointStore:
    """The last checkpoints of one training, a folder each, named by images shown.

    One that was written at the end, or on a request to stop, bears a mark. It
    serves to go on, until the next one is written, but not to roll back: a
    longer training that was never asked to stop does not have it. Those that
    lie beyond the end of this training belong to a longer one: they are
    neither read nor removed.

    Args:
        folder: of all trainings.
        ingredients: of this one; they name its folder.
        options: its length, and how many are kept.
    """

    folder: Path
    ingredients: Ingredients
    options: TrainOptions

    @property
    def address(self) -> str:
        """The name of this training's folder."""
        return self.ingredients.address()

    @property
    def home(self) -> Path:
        """The folder of this training."""
        return self.folder / self.address

    @contextmanager
    def in_use(self, notify: Callable[[str], None] = lambda _text: None) -> Iterator[None]:
        """Keep this training for ourselves, and from being removed as an old one; waits for who trains the same."""
        while True:
            self.home.mkdir(parents=True, exist_ok=True)
            with (self.home / LOCK).open("a+") as file:
                if not _try(file):
                    notify("waiting for another process that trains the same generator")
                    fcntl.flock(file, fcntl.LOCK_EX)
                if _is_at(file, self.home / LOCK):  # else it was removed in the meantime
                    yield
                    return

    def save(self, values: Mapping[str, Any], *, milestone: bool = True) -> Path:
        """Write what `TrainState.state_dict` gave aside, flush, rename, then drop the oldest."""
        final = self.home / f"{values['seen_images']:0{DIGITS}d}{'' if milestone else STOP_MARK}"
        with replacing(final) as partial:
            torch.save(dict(values), partial / STATE)
            manifest = {"sha256": _sha256(partial / STATE), "ingredients": asdict(self.ingredients)}
            (partial / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        self._drop_old(final, self.options.keep_checkpoints)
        return final

    def _drop_old(self, newest: Path, keep: int) -> None:
        """Remove what `newest` makes superfluous: a future that was given up, former stops, and the oldest."""
        others = [path for path in self._newest_first() if path != newest]
        given_up = [path for path in others if _seen_images(path) > _seen_images(newest)]
        left = [path for path in others if path not in given_up]
        stops = [path for path in left if path.name.endswith(STOP_MARK)]
        milestones = [path for path in left if path not in stops]
        for old in given_up + stops + milestones[keep - (not newest.name.endswith(STOP_MARK)) :]:
            shutil.rmtree(old)

    def resume(self, state: TrainState, *, notify: Callable[[str], None], ranks: Ranks = ALONE) -> bool:
        """Bring `state` to where this training stopped; False, and through `notify` why, where it begins anew.

        A training that was finished begins anew unless its length or patience has changed since.
        """
        if self._was_finished_alike():
            notify("this training had finished; it starts from the beginning")
            if ranks.is_first:
                self._forget()
            return False
        if self.load_latest(state, notify=notify, ranks=ranks):
            return True
        if ranks.is_first and (reason := self._why_unusable()):
            notify(f"starting at 0 images shown: {reason}")
        return False

    def load_latest(
        self,
        state: TrainState,
        *,
        notify: Callable[[str], None],
        ranks: Ranks = ALONE,
        stops_too: bool = True,
    ) -> bool:
        """Bring `state` to the newest sound checkpoint; False when there is none.

        A damaged or foreign one is named through `notify`, and the one before it is used.
        """
        passed_over = 0
        for path in self._newest_first():
            if path.name.endswith(STOP_MARK) and not stops_too:
                continue
            try:
                values = self._read(path)
            except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
                passed_over += 1
                notify(f"{path}: checkpoint skipped ({' '.join(str(error).split())[:160]})")
                continue
            state.load_state_dict(values, ranks)
            return True
        if passed_over:
            notify("no usable checkpoint is left")
        return False

    def run_key(self) -> str:
        """A name for this training that resuming keeps and training again does not."""
        path = self.home / RUN_KEY
        if not path.exists():
            _write(path, uuid.uuid4().hex)
        return path.read_text(encoding="utf-8")

    def spent_s(self) -> float:
        """Seconds that the goes at this training, which share its run key, have taken; as of the last `keep_spent`."""
        path = self.home / SPENT
        return float(path.read_text(encoding="utf-8")) if path.exists() else 0.0

    def keep_spent(self, seconds: float) -> None:
        """Keep what `spent_s` tells."""
        _write(self.home / SPENT, repr(seconds))

    def finish(self) -> None:
        """Note that the outputs are written; what is needed to go on with a longer training stays."""
        newest = self._newest_first()
        if newest:
            self._drop_old(newest[0], keep=1)
        _write(self.home / FINISHED, json.dumps(self._length()))
        for name in (RUN_KEY, SPENT):
            (self.home / name).unlink(missing_ok=True)

    def remove_old_trainings(self) -> Iterator[str]:
        """Keep the newest KEPT_TRAININGS and those in use; a line for each that goes."""
        others = sorted((path for path in _folders(self.folder) if path != self.home), key=_last_written)
        kept = [path for path in others if _newest(path)][1 - KEPT_TRAININGS :]
        for home in others:
            newest = _newest(home)
            if home not in kept and _remove_unless_in_use(home) and newest:
                yield (
                    f"removed an older training's checkpoint at {_seen_images(newest)} images shown; "
                    f"the newest {KEPT_TRAININGS} trainings are kept"
                )

    def _length(self) -> dict[str, int | None]:
        return {"total_images": self.options.total_images, "patience_images": self.options.patience_images}

    def _was_finished_alike(self) -> bool:
        path = self.home / FINISHED
        return path.exists() and json.loads(path.read_text(encoding="utf-8")) == self._length()

    def _forget(self) -> None:
        """Remove the checkpoints and, last, as other processes look for it, the note that it was finished."""
        for path in self._newest_first():
            shutil.rmtree(path)
        (self.home / FINISHED).unlink()

    def _newest_first(self) -> list[Path]:
        """Those that this training passes through; the last iteration may show more than `total_images`."""
        images = self.options.images_per_iteration
        last = -(-self.options.total_images // images) * images
        return [path for path in _all_newest_first(self.home) if _seen_images(path) <= last]

    def _why_unusable(self) -> str:
        """Which parameter, or what else, keeps this training from going on from the checkpoints that there are."""
        own = _newest(self.home)
        if own is not None:
            return (
                f"the checkpoint at {_seen_images(own)} images shown lies beyond "
                f"train.total_images={self.options.total_images}"
            )
        found = []
        for home in _folders(self.folder):
            newest = _newest(home)
            if newest is not None and (made_with := _made_with(newest)) is not None:
                changes = differences(made_with, self.ingredients)
                found.append((len(changes), -_last_written(home), home, newest, changes))
        if not found:
            return ""
        *_, home, newest, changes = min(found)
        way_on = "; to go on from its generator, set train.init_from" if (home / FINISHED).exists() else ""
        more = [f"{len(changes) - SHOWN} more differ"] if len(changes) > SHOWN else []
        clause = "; ".join(changes[:SHOWN] + more)
        return f"the checkpoint at {_seen_images(newest)} images shown is of another training: {clause}{way_on}"

    def _read(self, path: Path) -> dict[str, Any]:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        address = Ingredients(**manifest["ingredients"]).address()
        if address != self.address:
            raise ValueError(f"of another training: {address}, expected {self.address}")
        found = _sha256(path / STATE)
        if found != manifest["sha256"]:
            raise ValueError(f"damaged: SHA-256 {found[:12]}…, expected {manifest['sha256'][:12]}…")
        values: dict[str, Any] = torch.load(path / STATE, map_location="cpu", weights_only=True)
        return values


def _folders(parent: Path, pattern: str = "*") -> list[Path]:
    return [path for path in parent.glob(pattern) if path.is_dir()]


def _all_newest_first(home: Path) -> list[Path]:
    return sorted(_folders(home, "[0-9]*"), reverse=True)


def _newest(home: Path) -> Path | None:
    return next(iter(_all_newest_first(home)), None)


def _last_written(home: Path) -> float:
    """0 where another process has removed it meanwhile."""
    try:
        return home.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _seen_images(path: Path) -> int:
    return int(path.name[:DIGITS])


def _made_with(path: Path) -> Ingredients | None:
    """What a checkpoint was made with; None where that cannot be read."""
    try:
        return Ingredients(**json.loads((path / MANIFEST).read_text(encoding="utf-8"))["ingredients"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remove_unless_in_use(home: Path) -> bool:
    """False also where another training that begins at this moment has removed it."""
    try:
        file = (home / LOCK).open("a+")
    except FileNotFoundError:
        return False
    with file:
        if not (_try(file) and _is_at(file, home / LOCK)):
            return False
        shutil.rmtree(home)
        return True


def _try(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
