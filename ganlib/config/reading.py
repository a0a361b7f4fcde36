"""`params.yaml` in, `RunConfig` out; each mistake is one line."""

import difflib
from collections.abc import Hashable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Tag, ValidationError

from ganlib.config.run import RunConfig
from ganlib.errors import UserError

DISCRIMINATORS = ("family", "policy", "kind", "objective")


def load_config(path: Path) -> RunConfig:
    """Read and validate a parameters file.

    Raises:
        UserError: one line per mistake, naming file, parameter, what was found and expected.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the project's folder, or gan preset NAME first") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected a YAML file in UTF-8") from None
    return parse_config(text, path)


def parse_config(text: str, path: Path) -> RunConfig:
    """Validate the text of a parameters file; `path` is how errors name it.

    Raises:
        UserError: as `load_config`.
    """
    try:
        values = yaml.load(text, Loader=_UniqueKeyLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: found {type(values).__name__}, expected sections such as data, network and train")
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise UserError("\n".join(f"{path}: {line}" for line in _describe(error))) from None


class _UniqueKeyLoader(yaml.CSafeLoader):
    """A safe loader that refuses a key written twice instead of keeping the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"{key} is written twice (line {node.start_mark.line + 1}); keep one")
        return super().construct_mapping(node, deep)


def _describe(error: ValidationError) -> Iterator[str]:
    for item in error.errors():
        parts, section, node = _resolve(item["loc"])
        name = ".".join(parts)
        match item["type"]:
            case "extra_forbidden":
                yield f"{name}: unknown parameter{_nearest(parts[-1], section)}"
            case "missing":
                yield f"{name}: missing; add it (presets/base.yaml shows every parameter)"
            case "union_tag_invalid" | "union_tag_not_found":
                key = item["ctx"]["discriminator"].strip("'")
                known = ", ".join(sorted(_tags(node)))
                yield f"{name}.{key}: found {_shown(item['input'], key)}, expected one of {known}"
            case "value_error":
                yield (f"{name}: " if name else "") + item["msg"].removeprefix("Value error, ")
            case _:
                yield f"{name}: found {item['input']!r}; {_sentence(item['msg'])}"


def _shown(value: object, key: str) -> str:
    return repr(value.get(key, "nothing")) if isinstance(value, dict) else repr(value)


def _sentence(message: str) -> str:
    return message.removeprefix("Input ").replace("should be", "expected", 1)


def _resolve(location: tuple[int | str, ...]) -> tuple[list[str], Any, Any]:
    """The parameter's name without the tags of unions, the type of the section that it is in, and its own."""
    names: list[str] = []
    section: Any = RunConfig
    node: Any = RunConfig
    for part in location:
        tags = _tags(node)
        if part in tags:
            node = tags[str(part)]
            continue
        names.append(str(part))
        section = node
        fields = getattr(node, "model_fields", {})
        node = next((f.rebuild_annotation() for n, f in fields.items() if part in (n, f.alias)), None)
        node = _without_none(node)
    return names, section, node


def _without_none(annotation: Any) -> Any:
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return kinds[0] if len(kinds) == 1 else annotation
    return annotation


def _tags(annotation: Any) -> dict[str, Any]:
    """The members of a tagged union by tag; empty for anything else."""
    if get_origin(annotation) is Annotated:
        return _tags(get_args(annotation)[0])
    if not (isinstance(annotation, UnionType) or get_origin(annotation) is Union):
        return {}
    tags: dict[str, Any] = {}
    for kind in get_args(annotation):
        inner, *marks = get_args(kind) if get_origin(kind) is Annotated else (kind,)
        tags.update({mark.tag: inner for mark in marks if isinstance(mark, Tag)})
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            literals = [get_args(f.annotation) for n, f in inner.model_fields.items() if n in DISCRIMINATORS]
            tags.update({str(value): inner for values in literals for value in values})
    return tags


def _nearest(name: str, section: Any) -> str:
    """'; did you mean …' from the names that the section really has."""
    known = [field.alias or own for own, field in section.model_fields.items()]
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; expected one of {', '.join(known)}"
