"""`gan watch`: a run when the data have changed and a copy in progress has ended."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NoReturn

import yaml

from ganlib.config import RunConfig, load_config
from ganlib.datasets.files import open_files
from ganlib.datasets.files.formats import is_image_name
from ganlib.datasets.files.places import find, is_url, local_path
from ganlib.datasets.items import FileEntry
from ganlib.errors import UserError
from pipelines import paths
from pipelines.data.placing import version
from pipelines.graph import streaming, worktree
from pipelines.graph.locking import hold, holder
from pipelines.graph.supervisor import signals_unwind
from pipelines.preflight import check_project

STATE = paths.OWN_SCRATCH / "watched.json"
LOCK = paths.OWN_SCRATCH / "watched.lock"
Say = Callable[[str], None]
Start = Callable[[], None]


@dataclass(frozen=True)
class Options:
    """How to watch.

    Attributes:
        every_s: seconds between looks.
        quiet_s: for how long nothing may have changed until a run starts.
        drift: start a run only where newly arrived images differ from the held-out ones, at this error rate; None: at
            any change.
    """

    every_s: float
    quiet_s: float
    drift: float | None


@dataclass(frozen=True)
class Look:
    """What was there: the files of the data with what changes when they do, and DVC's record of them ("": none)."""

    files: Mapping[str, str]
    record: str


def watch(project: Path, options: Options, *, say: Say) -> None:
    """Look at the data until a signal ends it, and start a run when they have changed and have been quiet since.

    With PREFECT_API_URL it starts the deployment that `gan schedule` has made, without it an isolated run. What was
    last run is remembered, so that a change is found that came while nobody watched.

    Raises:
        UserError: no project or no data there, no server or no deployment, or somebody watches already.
    """
    config = check_project(project)
    start = _starter(project, say)
    if options.drift is not None:
        _check_drift(project, config)
    if (who := holder(project / LOCK)) is not None:
        raise UserError(f"{project}: {who} watches it already")
    with hold(project / LOCK, on_wait=say), _ended_quietly():
        known = remembered(project) or remember(project, look(project, config))
        say(f"watching data.source={config.data.source}: {len(known.files)} files; a look every {options.every_s:g} s")
        Watcher(project, options, known, start, say).watch()


def look(project: Path, config: RunConfig) -> Look:
    """What there is of the data.

    Raises:
        UserError: they cannot be read.
    """
    source = config.data.source
    location = source if is_url(source) else str(project / local_path(source))
    place = find(location)
    files = {"": place.stamp or str(place.size_bytes)}
    if place.is_folder:
        found = open_files(location, config.data.limits.max_files).entries()
        files = {each.name: each.stamp for each in found if isinstance(each, FileEntry)}
    record = _record(project, config)
    return Look(files, "" if record is None else record.read_text(encoding="utf-8"))


class Watcher:
    """What is known of the data, and what was made of it."""

    def __init__(self, project: Path, options: Options, known: Look, start: Start, say: Say) -> None:
        self._project, self._options, self._start, self._out = project, options, start, say
        self._known = self._answered = self._last = known  # at the last run; when last judged; when last looked at
        self._changed_s = time.monotonic()
        self._said: set[str] = set()

    def watch(self) -> NoReturn:
        """Look, again and again."""
        while True:
            try:
                self.look_once()
            except (UserError, OSError) as error:  # a disk, a store or a server that is away comes back
                self._say(f"{error}; trying again at each look")
            time.sleep(self._options.every_s)

    def look_once(self) -> None:
        """Start a run if there is reason to.

        Raises:
            UserError: the data cannot be read, or a run cannot be started; the next look tries again.
        """
        config = load_config(self._project / paths.PARAMS)
        _update_import(self._project, config)
        seen, now = look(self._project, config), time.monotonic()
        if seen != self._last:
            if self._last == self._answered:
                self._say(f"the data have changed; waiting until they have not for {self._options.quiet_s:g} s")
            self._last, self._changed_s = seen, now
        elif seen != self._answered and now - self._changed_s >= self._options.quiet_s:
            if self._is_reason(seen, config):
                self._run(seen, config)
            self._answered = self._last

    def _say(self, text: str) -> None:
        """Once, however often it is tried again."""
        if text not in self._said:
            self._out(text)
            self._said.add(text)

    def _is_reason(self, seen: Look, config: RunConfig) -> bool:
        """Whether to start a run, said with the figures behind it."""
        new = [name for name, stamp in seen.files.items() if self._known.files.get(name) != stamp]
        gone = len(self._known.files.keys() - seen.files.keys())
        told = f"{len(new)} new or changed files, {gone} gone" if new or gone else "another version of the data"
        if self._options.drift is None or not new:
            self._say(f"{told}: starting a run")
            return True
        from pipelines.watching.drift import drift_of

        folder = self._project / local_path(config.data.source)
        found = drift_of([folder / name for name in new if is_image_name(name)], config)
        if found is None:
            self._say(f"{told}: too few images to tell a drift by; waiting for more")
            return False
        figures = f"kernel distance {found.distance:.3g}, p = {found.p_value:.3f}, {found.new} and {found.known} images"
        differs = found.p_value <= self._options.drift
        verdict = "unlike the held-out images" if differs else "like the held-out images"
        self._say(f"{told}: {verdict} ({figures}); {'starting a run' if differs else 'no run'}")
        return differs

    def _run(self, seen: Look, config: RunConfig) -> None:
        if seen.files != self._known.files:  # else git has brought another record, which a run goes by
            _keep(self._project, config)
        after = look(self._project, config)  # DVC may have replaced the files by links
        self._start()
        self._said.clear()
        kept = {name: stamp for name, stamp in after.files.items() if name in seen.files}  # what came since is new
        self._known = self._last = remember(self._project, replace(after, files=kept))


def _starter(project: Path, say: Say) -> Start:
    """Starts the deployment on the configured server, or a run here and waits for its end."""
    from pipelines.flows.embedded import configured_url
    from pipelines.flows.schedule import check_commit, find_scheduled, start_scheduled

    if configured_url() is not None:
        find_scheduled(project)
        return lambda: say(f"flow run {start_scheduled(project)} is due")
    check_commit(project)

    def run() -> None:
        command = [sys.executable, "-P", "-m", "pipelines.cli", "run", "--isolated"]
        code = streaming.run(command, cwd=project, env=os.environ, on_line=say)
        if code != 0:
            say(f"the run ended with exit code {code}; the next change starts another one")

    return run


def _record(project: Path, config: RunConfig) -> Path | None:
    """DVC's record of the data; None where there is none."""
    source = config.data.source
    return None if is_url(source) else worktree.record_of(project, local_path(source))


def _is_import(record: Path) -> bool:
    return bool(yaml.safe_load(record.read_text(encoding="utf-8")).get("deps"))


def _update_import(project: Path, config: RunConfig) -> None:
    """Fetch what has changed where the data were imported from (`dvc import-url`, `dvc import`)."""
    record = _record(project, config)
    if record is None or not _is_import(record):
        return
    from dvc.exceptions import DvcException

    from pipelines.graph.dag import repository

    with repository(project) as repo:
        try:
            repo.update([str(record)])
        except DvcException as error:
            raise UserError(f"{record}: cannot be updated ({' '.join(str(error).split())[:200]})") from None


def _keep(project: Path, config: RunConfig) -> None:
    """Have DVC keep the data as they are, if it knows them: a run takes them from there."""
    record = _record(project, config)
    if record is not None and not _is_import(record):
        version(project, record.relative_to(project).with_suffix(""))


def _check_drift(project: Path, config: RunConfig) -> None:
    source = config.data.source
    if is_url(source) or not (project / local_path(source)).is_dir():
        raise UserError(f"--drift: looks at new files, and data.source={source} is no folder of this machine")
    for needed in (paths.PROCESSED, paths.EXTRACTOR):
        if not (project / needed).is_dir():
            raise UserError(f"--drift: compares new images by {needed}, which is not there; run `gan repro` first")


def remembered(project: Path) -> Look | None:
    """What was last run; None where nothing was watched yet.

    Raises:
        UserError: it cannot be read.
    """
    if not (project / STATE).exists():
        return None
    try:
        return Look(**json.loads((project / STATE).read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise UserError(f"{STATE}: damaged; remove it, and the data are taken as known") from None


def remember(project: Path, seen: Look) -> Look:
    """Note it for the next time."""
    partial = project / STATE.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(seen)), encoding="utf-8")
    partial.replace(project / STATE)
    return seen


@contextmanager
def _ended_quietly() -> Iterator[None]:
    """A signal to stop is how this ends."""
    try:
        with signals_unwind():
            yield
    except KeyboardInterrupt:
        return
    except SystemExit as error:
        if error.code not in {128 + signal.SIGTERM, 128 + signal.SIGHUP}:
            raise
