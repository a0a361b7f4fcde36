"""All parameters as Markdown: types and ranges from `RunConfig`, comments and examples from the presets."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from ganlib.config import RunConfig
from ganlib.config.base import Schedule
from ganlib.config.reading import DISCRIMINATORS
from pipelines.presets import known_presets, preset_text

ROOT = Path(__file__).resolve().parents[2]
FIRST = "digits"
# A key of a block mapping; what follows a value after two blanks and a # is its comment.
KEY = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?P<value>.*?)(?: {2,}# (?P<comment>.*))?$")
COMMENT = re.compile(r"^ *# (.*)$")


@dataclass(frozen=True)
class Written:
    """What a complete params.yaml says: values and comments by dotted names."""

    values: Mapping[str, Any]
    comments: Mapping[str, str]


def parameters() -> str:
    """A chapter a section, a table row a parameter."""
    presets = sorted(known_presets(ROOT), key=lambda preset: preset.name != FIRST)
    texts = [preset_text(preset.path) for preset in presets]
    written = [Written(flat(yaml.safe_load(text)), dict(commented(text))) for text in texts]
    return "\n".join(_section(RunConfig, "", written))


def commented(text: str) -> Iterator[tuple[str, str]]:
    """(dotted name, comment) of the keys of a YAML text; lines of comment above a key belong to it, too."""
    path: list[tuple[int, str]] = []
    above: list[str] = []
    for line in text.splitlines():
        if found := COMMENT.match(line):
            above.append(found[1])
            continue
        if found := KEY.match(line):
            indent = len(found["indent"])
            path = [(depth, key) for depth, key in path if depth < indent] + [(indent, found["key"])]
            said = " ".join(filter(None, [*above, found["comment"]]))
            if said and indent:
                yield ".".join(key for _, key in path), said
            elif found["comment"]:
                yield found["key"], found["comment"]
        above = []


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of nested mappings by dotted names, those of the mappings themselves among them."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found[prefix + key] = value
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
    return found


def _section(model: type[BaseModel], name: str, written: Sequence[Written]) -> list[str]:
    """What it is, a table of its plain parameters, then the sections inside with their headings."""
    prefix = f"{name}." if name else ""
    described, attributes = _docstring(model)
    schema = model.model_json_schema(by_alias=True)
    rows, inner = [], []
    for field, info in model.model_fields.items():
        key = info.alias or field
        members = _models(info.annotation)
        for member in members:
            heading, told = f"`{prefix}{key}`", written
            if len(members) > 1:
                chooser, value = _choice(member)
                heading += f" with `{chooser}: {value}`"
                told = [each for each in written if each.values.get(f"{prefix}{key}.{chooser}") == value]
            inner += [f"{'#' * (2 + prefix.count('.'))} {heading}", ""]
            inner += ["This section, or `null`.", ""] if type(None) in get_args(info.annotation) else []
            inner += _section(member, prefix + key, told)
        if not members:
            kind = _kind(schema["properties"][key], schema.get("$defs", {}))
            said = next((each.comments[prefix + key] for each in written if prefix + key in each.comments), "")
            cells = (f"`{key}`", kind, _example(prefix + key, written), said or attributes.get(field, ""))
            rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    table = ["| parameter | expected | example | meaning |", "| --- | --- | --- | --- |", *rows, ""] if rows else []
    return [*([described, ""] if name else []), *table, *inner]


def _docstring(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """What it says of the whole, and of each attribute."""
    text, _, attributes = (inspect.getdoc(model) or "").partition("\nAttributes:\n")
    return text.strip(), dict(re.findall(r"^ *(\w+): (.*)$", attributes, re.MULTILINE))


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a field may hold; none where it is a plain value or a schedule."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [] if annotation is Schedule else [annotation]
    if get_origin(annotation) is Annotated:
        return _models(get_args(annotation)[0])
    if get_origin(annotation) in (Union, type(int | str)):
        return [model for each in get_args(annotation) for model in _models(each)]
    return []


def _choice(model: type[BaseModel]) -> tuple[str, str]:
    """The field that tells a member of a union from the others, and its value, such as family and mlp."""
    (found,) = [name for name in DISCRIMINATORS if name in model.model_fields]
    return found, get_args(model.model_fields[found].annotation)[0]


def _kind(schema: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return "a schedule" if name == "Schedule" else _kind(shared[name], shared)
    if options := schema.get("anyOf", schema.get("oneOf")):
        return " or ".join(dict.fromkeys(_kind(each, shared) for each in options))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    match schema.get("type"):
        case "integer" | "number" as kind:
            return " ".join(["a whole number" if kind == "integer" else "a number", *_limits(schema)])
        case "boolean":
            return "`true` or `false`"
        case "null":
            return "`null`"
        case "string":
            return "text"
        case "array":
            each = schema.get("items") or schema["prefixItems"][0]
            return f"a list, each {_kind(each, shared)}"
        case _:
            return "a mapping"


def _limits(schema: Mapping[str, Any]) -> Iterator[str]:
    signs = {"exclusiveMinimum": "> ", "minimum": "≥ ", "exclusiveMaximum": "< ", "maximum": "≤ "}
    found = [f"{sign}{schema[name]}" for name, sign in signs.items() if name in schema]
    if found:
        yield ", ".join(found)


def _example(name: str, written: Sequence[Written]) -> str:
    for each in written:
        if name in each.values:
            text = yaml.safe_dump(each.values[name], default_flow_style=True, width=10_000)
            return f"`{text.strip().removesuffix('...').strip()}`"
    return ""
