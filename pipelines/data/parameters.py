"""`data.source` in params.yaml, changed in place: comments and layout stay as they are."""

import json
import re
from pathlib import Path

import yaml

from ganlib.config import RunConfig, load_config
from ganlib.datasets.items import printable
from ganlib.errors import UserError
from pipelines import paths


def point_at(project: Path, source: str) -> str:
    """Set `data.source`; returns what it was. The file is written aside and renamed.

    Raises:
        UserError: params.yaml is not valid, or its `data.source` cannot be told from its surroundings.
    """
    target = project / paths.PARAMS
    before = load_config(target)
    if before.data.source == source:
        return source
    text = target.read_bytes().decode("utf-8")
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_bytes(with_source(text, source).encode("utf-8"))
        if not _differs_in_source_alone(partial, before, source):
            raise UserError(
                f"{paths.PARAMS}: data.source cannot be changed alone, other parameters refer to it; set it to "
                f"{printable(source)} by hand"
            )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return before.data.source


def _differs_in_source_alone(path: Path, before: RunConfig, source: str) -> bool:
    data = before.data.model_copy(update={"source": source})
    try:
        return load_config(path) == before.model_copy(update={"data": data})
    except UserError:  # an alias whose anchor was in the text that is replaced
        return False


def with_source(text: str, source: str) -> str:
    """The YAML text with one scalar replaced; a comment behind it keeps its column where there is room."""
    node = _value(_value(yaml.compose(text, Loader=yaml.SafeLoader), "data"), "source")
    start = node.start_mark.index
    end = start + len(text[start : node.end_mark.index].rstrip())  # folded text takes its line's end with it
    written = _scalar(source)
    after = text[end:]
    if comment := re.match(r"( +)#", after):
        blanks = len(comment[1]) + (end - start) - len(written)
        after = " " * max(blanks, 2) + after[len(comment[1]) :]
    return text[:start] + written + after


def _value(node: yaml.Node | None, key: str) -> yaml.Node:
    assert isinstance(node, yaml.MappingNode), "load_config has seen this section"
    for name, value in node.value:
        if name.value == key:
            assert isinstance(value, yaml.Node)
            return value
    raise AssertionError(f"load_config has seen {key}")


def _scalar(text: str) -> str:
    """As it is where YAML reads it back in any place, else in double quotes: JSON strings are YAML."""
    if re.fullmatch(r"[\w./:@%+=-]+", text) and yaml.safe_load(f"{{a: {text}}}") == {"a": text}:
        return text
    return json.dumps(text)
