"""Parameter files to start from: presets/base.yaml with what one of the other files in presets/ changes."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ganlib.config import RunConfig, load_config, parse_config
from ganlib.errors import UserError
from pipelines import paths
from pipelines.overlay import OverlayError, overlaid

BASE = "base.yaml"
_SHOWN = 4


@dataclass(frozen=True)
class Preset:
    """What a file changes; `description` is its first line, a comment."""

    name: str
    path: Path
    description: str


def known_presets(project: Path) -> tuple[Preset, ...]:
    """The project's presets by name.

    Raises:
        UserError: it has none.
    """
    files = sorted(file for file in (project / paths.PRESETS).glob("*.yaml") if file.name != BASE)
    if not files:
        raise UserError(f"{paths.PRESETS}: no presets found in {project}; run this in the folder of a ganlib project")
    return tuple(Preset(file.stem, file, _description(file)) for file in files)


def preset_text(path: Path) -> str:
    """The complete parameters that a preset's file stands for, as YAML with comments.

    Raises:
        UserError: it or the base cannot be read, or it does not fit the base or repeats it.
    """
    base = path.with_name(BASE)
    texts = _read_yaml(base), _read_yaml(path)
    try:
        return overlaid(*texts)
    except OverlayError as error:
        raise UserError(f"{path}: {error} ({paths.PRESETS / BASE})") from None


def load_parameters(path: Path) -> RunConfig:
    """A parameters file, validated; a preset's as what it stands for.

    Raises:
        UserError: one line per mistake, as `load_config`.
    """
    is_preset = path.absolute().parent.name == paths.PRESETS.name and path.name != BASE and path.exists()
    return parse_config(preset_text(path), path) if is_preset else load_config(path)


def listing(presets: tuple[Preset, ...]) -> str:
    """A line a preset: its name and what it is."""
    width = max(len(preset.name) for preset in presets)
    return "\n".join(f"{preset.name:<{width}}  {preset.description}".rstrip() for preset in presets)


def find_preset(name: str, presets: tuple[Preset, ...]) -> Preset:
    """The preset of this name.

    Raises:
        UserError: there is none.
    """
    for preset in presets:
        if preset.name == name:
            return preset
    names = [preset.name for preset in presets]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(names)}"
    raise UserError(f"preset {name if name.isprintable() else repr(name)}: unknown; {hint}")


def apply_preset(project: Path, preset: Preset, presets: tuple[Preset, ...], *, force: bool) -> Iterator[str]:
    """Write params.yaml from a preset, aside and renamed; gives what changed and what to do next, a line each.

    Args:
        project: its folder.
        preset: which.
        presets: all that are known: a params.yaml that equals one of them holds no work of the user.
        force: replace any other params.yaml too.

    Raises:
        UserError: the preset is not valid, or params.yaml holds changes and `force` is false.
    """
    config = load_parameters(preset.path)
    target, content = project / paths.PARAMS, preset_text(preset.path).encode()
    before = target.read_bytes() if target.exists() else None
    refuse_own_work(project, presets, force=force)
    replaced = None if before is None else _preset_of(before, presets)
    if before is not None and _same(content, before):
        yield f"{paths.PARAMS}: is preset {preset.name} already, nothing changed"
    else:
        _write_aside(target, content)
        yield _told(preset, replaced, before, content)
    yield _next_step(project, config)


def refuse_own_work(project: Path, presets: Iterable[Preset], *, force: bool) -> None:
    """See that params.yaml may be replaced: it is a preset, but for the data that it points at, or by `gan start`.

    Raises:
        UserError: it holds changes of the user and `force` is false.
    """
    target, started = project / paths.PARAMS, project / paths.STARTED
    if force or not target.exists():
        return
    found = target.read_bytes()
    if _preset_of(found, presets) is None and not (started.exists() and _same(found, started.read_bytes())):
        raise UserError(
            f"{paths.PARAMS}: holds changes that are in no preset; save a copy if you want to keep them, "
            "then run this again with --force"
        )


def write_parameters(project: Path, text: str) -> None:
    """Write params.yaml, aside and renamed, and note that it holds nothing of the user."""
    content = text.encode()
    (project / paths.STARTED).parent.mkdir(parents=True, exist_ok=True)
    _write_aside(project / paths.STARTED, content)
    _write_aside(project / paths.PARAMS, content)


def _preset_of(found: bytes, presets: Iterable[Preset]) -> Preset | None:
    """The preset that these parameters are, whatever data they point at."""
    return next(
        (each for each in presets if _same(_sourceless(preset_text(each.path).encode()), _sourceless(found))), None
    )


def _sourceless(text: bytes) -> bytes:
    """Without the line that `gan data add` changes."""
    return re.sub(rb"(?m)^  source: .*$", b"", text, count=1)


def _read_yaml(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        yaml.compose(text, Loader=yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected a YAML file in UTF-8") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    return text


def _description(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        first = lines.readline()
    return first.lstrip("#").strip() if first.startswith("#") else ""


def _same(one: bytes, other: bytes) -> bool:
    """Whether two texts are equal, however their lines end."""
    return one.splitlines() == other.splitlines()


def _write_aside(target: Path, content: bytes) -> None:
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _told(preset: Preset, replaced: Preset | None, before: bytes | None, content: bytes) -> str:
    if before is None:
        return f"{paths.PARAMS}: written from preset {preset.name}"
    was = f"preset {replaced.name}" if replaced else "changes of your own"
    changed = _changed_names(before, content)
    shown = ", ".join(changed[:_SHOWN]) + (f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else "")
    return f"{paths.PARAMS}: now preset {preset.name} instead of {was}; it differs in {shown or 'comments alone'}"


def _changed_names(before: bytes, after: bytes) -> list[str]:
    """The dotted names of the parameters that are not alike; all of the new ones where the old text is no YAML."""
    try:
        old = dict(_flat(yaml.safe_load(before)))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        old = {}
    new = dict(_flat(yaml.safe_load(after)))
    return [name for name in {**new, **old} if name not in old or name not in new or old[name] != new[name]]


def _flat(value: object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _next_step(project: Path, config: RunConfig) -> str:
    source = config.data.source
    if (project / source).exists():
        return "next: gan repro"
    layout = "class folders of images" if config.network.conditional else "images, in class folders or not"
    return f"next: bring the data, as {source} is not here: {layout}, or set data.source to yours; then gan repro"
