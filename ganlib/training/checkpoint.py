"""Checkpoints that survive a kill at any moment and refuse to be mistaken for others."""

import hashlib
import json
import pickle
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganlib.replacing import replacing
from ganlib.training.distributed import ALONE, Ranks
from ganlib.training.state import TrainState

FORMAT_VERSION = 1
STATE = "state.pt"
MANIFEST = "manifest.json"
DIGITS = 12
STOP_MARK = "-stop"


def fingerprint(parts: Mapping[str, Any]) -> str:
    """A digest of all that the bits of a training depend on, the versions of format and libraries included."""
    whole = {"format_version": FORMAT_VERSION, "torch": torch.__version__, "numpy": np.__version__, **parts}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class CheckpointStore:
    """The last `keep` checkpoints of one training, a folder each, named by images shown.

    One that was written on a request to stop bears a mark. It serves to go on,
    until the next one is written, but not to roll back: a training that was
    never asked to stop does not have it.
    """

    folder: Path
    fingerprint: str
    keep: int

    @property
    def home(self) -> Path:
        """The folder of this training."""
        return self.folder / self.fingerprint

    def save(self, values: Mapping[str, Any], *, on_request: bool = False) -> Path:
        """Write what `TrainState.state_dict` gave aside, flush, rename, then drop the oldest."""
        final = self.home / f"{values['seen_images']:0{DIGITS}d}{STOP_MARK if on_request else ''}"
        with replacing(final) as partial:
            torch.save(dict(values), partial / STATE)
            with (partial / STATE).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            manifest = {"fingerprint": self.fingerprint, "sha256": digest}
            (partial / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        for old in self._superfluous(final):
            shutil.rmtree(old)
        return final

    def _superfluous(self, newest: Path) -> list[Path]:
        """What `newest` makes superfluous: a future that was given up, former stops, and the oldest."""
        others = [path for path in self._newest_first() if path != newest]
        given_up = [path for path in others if path.name[:DIGITS] > newest.name[:DIGITS]]
        left = [path for path in others if path not in given_up]
        stops = [path for path in left if path.name.endswith(STOP_MARK)]
        milestones = [path for path in left if path not in stops]
        return given_up + stops + milestones[self.keep - (not newest.name.endswith(STOP_MARK)) :]

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
                notify(f"{path}: checkpoint passed over ({' '.join(str(error).split())[:160]})")
                continue
            state.load_state_dict(values, ranks)
            return True
        if passed_over:
            notify("no sound checkpoint is left; starting from the beginning")
        return False

    def run_key(self) -> str:
        """A name for this training that resuming keeps and training again does not."""
        path = self.home / "run_key"
        if not path.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_text(uuid.uuid4().hex, encoding="utf-8")
            partial.replace(path)
        return path.read_text(encoding="utf-8")

    def clear(self) -> None:
        """Forget this training; called once its outputs are written."""
        shutil.rmtree(self.home, ignore_errors=True)

    def _newest_first(self) -> list[Path]:
        return sorted((p for p in self.home.glob("[0-9]*") if p.is_dir()), reverse=True)

    def _read(self, path: Path) -> dict[str, Any]:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if manifest["fingerprint"] != self.fingerprint:
            raise ValueError(f"of another configuration: {manifest['fingerprint']}, expected {self.fingerprint}")
        with (path / STATE).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != manifest["sha256"]:
            raise ValueError(f"damaged: SHA-256 {found[:12]}…, expected {manifest['sha256'][:12]}…")
        values: dict[str, Any] = torch.load(path / STATE, map_location="cpu", weights_only=True)
        return values
