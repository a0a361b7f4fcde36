"""`gan data add`: data into `data/raw`, versioned by DVC, and params.yaml pointed at them."""

import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from ganlib.config import DataOptions, load_config
from ganlib.datasets.files.names import has_control, is_junk
from ganlib.datasets.files.places import is_url, local_path
from ganlib.datasets.items import printable
from ganlib.datasets.sources.opening import check_readable
from ganlib.errors import UserError
from ganlib.replacing import replacing
from pipelines import paths
from pipelines.advice.brief import advice
from pipelines.data.named import NamedSet, named_sets
from pipelines.data.official import forget_downloads, official_files
from pipelines.data.parameters import point_at
from pipelines.data.placing import check_free, copy_in, kept_in_git, replacing_file, size_text, version
from pipelines.graph.locking import hold_pipeline
from pipelines.preflight import check_git, check_names, dvc_files
from pipelines.stages.heartbeat import Heartbeat

Say = Callable[[str], None]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_DOUBLE_SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
_SHOWN = 3


def add(project: Path, what: str, *, name: str | None, given: Path | None, force: bool, say: Say) -> None:
    """Add data, and say what would suit one's own; named sets have presets of theirs. See `bring`."""
    bring(project, what, name=name, given=given, force=force, say=say)
    if what not in named_sets():
        for line in advice(load_config(project / paths.PARAMS).data):
            say(line)
    say("next: gan data check, then gan repro")


def bring(project: Path, what: str, *, name: str | None, given: Path | None, force: bool, say: Say) -> None:
    """Bring a named data set, a file or folder, or a URL into the project, and point params.yaml at it.

    Args:
        project: its folder.
        what: a name of `named_sets`, a path or a URL.
        name: of one's own data in `data/raw`.
        given: a folder with the official files of a named set.
        force: replace data of the same name.
        say: hears lines for people.

    Raises:
        UserError: the data are not there or not as expected, the name is taken, or DVC refuses.
    """
    options = load_config(project / paths.PARAMS).data  # before anything is fetched or copied for it
    if not (project / ".dvc").is_dir():
        raise UserError(f"{project}: not a DVC project; run this in the folder of a ganlib project")
    check_git(project)
    known = named_sets()
    if name is not None and not _NAME.fullmatch(name):
        raise UserError(
            f"--name {printable(name)}: expected small letters, digits, _ and -, starting with a letter or digit"
        )
    if given is not None and what not in known:
        raise UserError(f"--from: is for the named sets {', '.join(known)}; found {printable(what)}")
    if what in known:
        _add_named(project, known[what], name=name or what, given=given, force=force, say=say)
    elif is_url(what):
        _add_url(project, what, options, name=name, say=say)
    else:
        _add_path(project, what, options, name=name, force=force, say=say)


def _add_named(project: Path, named: NamedSet, *, name: str, given: Path | None, force: bool, say: Say) -> None:
    target = paths.RAW / f"{name}{named.suffix}"
    check_free(project, target, force=force)
    downloads = project / paths.DOWNLOADS / named.name
    with Heartbeat(say, f"the files of {named.name}"):
        files = official_files(named, given, downloads)
    with hold_pipeline(project, on_wait=say), Heartbeat(say, f"bringing {named.name} to {target}"):
        if named.suffix:
            with replacing_file(project / target) as partial:
                named.convert(files, partial)
        else:
            with replacing(project / target) as folder:
                named.convert(files, folder)
        _adopt(project, target, say)
    forget_downloads(downloads)
    say(f"{named.name}: {named.fits}")


def _add_path(project: Path, what: str, options: DataOptions, *, name: str | None, force: bool, say: Say) -> None:
    source = local_path(what).expanduser()
    _check_path(source, what)
    raw, real = _real(project / paths.RAW), _real(source)
    if raw.is_relative_to(real):
        raise UserError(f"{printable(what)}: holds {paths.RAW} itself; give a folder of images alone")
    if source.is_dir():
        check_names(printable(what), source, hidden=real.is_relative_to(raw))
    kept = next(dvc_files(source), None)
    if kept is not None:
        raise UserError(
            f"{printable(what)}: holds {printable(str(kept))}, which DVC would take for part of this project; give a "
            "folder of images alone"
        )
    with hold_pipeline(project, on_wait=say):
        if real.is_relative_to(raw):
            target = paths.RAW / real.relative_to(raw)
            if name is not None and name != _stem(target):
                raise UserError(f"--name {name}: {target} is in {paths.RAW} already; leave the name out")
            if has_control(str(target)):
                raise UserError(f"{printable(what)}: its name is not UTF-8 or has a control character; rename it")
            _look(options, str(source))
        else:
            if name is None:
                raise UserError(f"--name: missing; give the name that {printable(what)} gets in {paths.RAW}")
            target = paths.RAW / f"{name}{'' if source.is_dir() else _suffix(source)}"
            check_free(project, target, force=force)
            _check_no_linked_folder(source, what)
            with Heartbeat(say, f"copying to {target}") as heartbeat:
                _look(options, str(source))

                def tell(text: str) -> None:
                    heartbeat.note()
                    say(text)

                left_out = copy_in(source, project / target, options, tell)
            if left_out:
                more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
                shown = ", ".join(f"{refusal.name} ({refusal.detail})" for refusal in left_out[:_SHOWN])
                say(f"not copied: {shown}{more}")
        _adopt(project, target, say)


def _look(options: DataOptions, source: str) -> None:
    """See that what is to be added holds an image that can be read."""
    try:
        check_readable(options.model_copy(update={"source": source}))
    except UserError as error:
        raise UserError(str(error).removeprefix("data.source=")) from None


def _add_url(project: Path, url: str, options: DataOptions, *, name: str | None, say: Say) -> None:
    """Data at a URL stay there: DVC and the preprocess stage read them where they are."""
    parts = urlsplit(url)
    shown = printable(url)
    if parts.password or (parts.username and parts.scheme.lower().startswith("http")):
        raise UserError(
            f"{parts.scheme}://…: holds a user name or password, and params.yaml is no place for them; "
            "leave them out and give them to the tool, as data/README.md says"
        )
    if name is not None:
        say(f"--name {name}: not needed, as the data stay where they are")
    _look(options, url)
    with hold_pipeline(project, on_wait=say):
        before = point_at(project, url)
    say(f"{shown}: left there and read from there; to version a copy, download it and add its path")
    _tell_source(before, url, say)


def _adopt(project: Path, target: Path, say: Say) -> None:
    """Have the data kept, and used."""
    where = str(target)
    if kept_in_git(project, target):
        kept, written = "kept in git already", []
    else:
        with Heartbeat(say, f"dvc add {printable(where)}"):
            record = version(project, target)
        kept, written = f"kept by DVC ({record})", [record, str(Path(record).parent / ".gitignore")]
    say(f"{printable(where)}: {size_text(project / target)}, {kept}")
    _tell_source(point_at(project, where), where, say)
    if (project / ".git").exists():
        say(f"to share: git add {' '.join([*written, str(paths.PARAMS)])}" + ("; dvc push" if written else ""))


def _tell_source(before: str, now: str, say: Say) -> None:
    if before == now:
        say(f"{paths.PARAMS}: data.source is {printable(now)} already")
    else:
        say(f"{paths.PARAMS}: data.source is now {printable(now)} instead of {printable(before)}")


def _check_path(source: Path, what: str) -> None:
    shown = printable(what)
    if "\0" in what or not source.exists():
        known = list(named_sets())
        close = difflib.get_close_matches(what, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the named sets are {', '.join(known)}"
        raise UserError(f"{shown}: no such file or folder; {hint}")
    if not (source.is_dir() or source.is_file()):
        raise UserError(f"{shown}: neither a folder nor a regular file; expected one of them")
    if source.is_dir() and not any(source.iterdir()):
        raise UserError(f"{shown}: the folder is empty; expected images or archives")


def _check_no_linked_folder(source: Path, what: str) -> None:
    """A class that is a link to a folder would stay behind as a whole."""
    for path, folders, _ in os.walk(source):
        folders[:] = [name for name in folders if not is_junk(name)]
        linked = next((Path(path, name) for name in sorted(folders) if Path(path, name).is_symlink()), None)
        if linked is not None:
            raise UserError(
                f"{printable(what)}: {printable(str(linked.relative_to(source)))} is a link to a folder, and such "
                "links are not followed; cp -rL FOLDER COPY makes a copy with the files themselves, or remove the link"
            )


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in _DOUBLE_SUFFIXES if name.endswith(suffix)), path.suffix.lower())


def _stem(target: Path) -> str:
    return target.name.removesuffix(_suffix(target)) if _suffix(target) else target.name
