"""One YAML text laid over another: the lines of what changes are replaced, all other lines and comments stay.

Lines and not values are what moves: a library that writes YAML anew lays out mappings and comments its own way.
"""

from collections.abc import Iterator

import yaml

from ganlib.config.reading import DISCRIMINATORS

COMMENT_COLUMN = 34
Entry = tuple[yaml.Node, yaml.Node]


class OverlayError(ValueError):
    """A change that does not fit the text below it; one line that names the parameter."""


def overlaid(base: str, changes: str, *, repeats: bool = False) -> str:
    """The base with each value of `changes` in the place of its own.

    A comment of a change, behind it or on the lines directly above,
    replaces that of the base; without one the base's stays. The comment at
    the top of `changes` comes before that of the base. Both texts are
    mappings in block style. With `repeats`, changes may be equal to the base, for the sake of their comments.

    Raises:
        OverlayError: a change that the base lacks, equals or that comes twice.
        yaml.YAMLError: a text is not valid YAML.
    """
    upper = changes.splitlines()
    lines = base.splitlines()
    replaced = list(_replaced(_root(base), _root(changes), "", repeats))
    for below, above in sorted(replaced, key=lambda pair: pair[0][0].start_mark.line, reverse=True):
        _replace(lines, below, upper, above)
    top = next((place for place, line in enumerate(upper) if not line.startswith("#")), len(upper))
    return "\n".join([*upper[:top], *lines]) + "\n"


def _root(text: str) -> yaml.Node:
    node = yaml.compose(text, Loader=yaml.CSafeLoader)
    return node if node is not None else yaml.MappingNode("tag:yaml.org,2002:map", [], flow_style=False)


def _replaced(base: yaml.Node, changes: yaml.Node, prefix: str, repeats: bool) -> Iterator[tuple[Entry, Entry]]:
    below, above = _entries(base, prefix), _entries(changes, prefix)
    for name, (key, value) in above.items():
        if name not in below:
            raise OverlayError(f"{prefix}{name}: not in the base")
        old_key, old = below[name]
        if _in_lines(old) and _in_lines(value) and not _is_variant(value):
            yield from _replaced(old, value, f"{prefix}{name}.", repeats)
        elif not repeats and _values(old) == _values(value):
            raise OverlayError(f"{prefix}{name}: equal to the base; remove it")
        else:
            yield (old_key, old), (key, value)


def _entries(node: yaml.Node, prefix: str) -> dict[str, Entry]:
    if not isinstance(node, yaml.MappingNode):
        raise OverlayError(f"{prefix.rstrip('.') or 'the text'}: expected a mapping, found {node.value!r}")
    entries = {key.value: (key, value) for key, value in node.value}
    if len(entries) < len(node.value):
        names = [key.value for key, _ in node.value]
        raise OverlayError(f"{prefix}{next(name for name in names if names.count(name) > 1)}: written twice")
    return entries


def _in_lines(node: yaml.Node) -> bool:
    """Whether it is a mapping in block style, a line or more for each key."""
    return isinstance(node, yaml.MappingNode) and not node.flow_style


def _is_variant(node: yaml.Node) -> bool:
    """Whether it names its kind: then it is replaced whole."""
    return any(key.value in DISCRIMINATORS and isinstance(name, yaml.ScalarNode) for key, name in node.value)


def _values(node: yaml.Node) -> object:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _replace(lines: list[str], below: Entry, upper: list[str], above: Entry) -> None:
    first, last = below[0].start_mark.line, _last_line(below[1])
    new_first, new_last = above[0].start_mark.line, _last_line(above[1])
    new = upper[new_first : new_last + 1]
    _, comment = _comment(lines, below)
    place, new_comment = _comment(upper, above)
    if comment and not new_comment:
        new[place - new_first] = f"{new[place - new_first]:<{COMMENT_COLUMN - 2}}  {comment}"
    heading = _heading(upper, new_first)
    if heading:
        first -= len(_heading(lines, first))
    lines[first : last + 1] = [*heading, *new]


def _last_line(node: yaml.Node) -> int:
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:  # ends, for the parser, where the next begins
        inner = node.value[-1]
        return _last_line(inner[1] if isinstance(node, yaml.MappingNode) else inner)
    return int(node.end_mark.line)


def _comment(lines: list[str], entry: Entry) -> tuple[int, str]:
    """The line that takes the comment of an entry, and the comment, if any."""
    key, value = entry
    mark = key.end_mark if isinstance(value, yaml.CollectionNode) and not value.flow_style else value.end_mark
    return mark.line, lines[mark.line][mark.column :].removeprefix(":").strip()


def _heading(lines: list[str], first: int) -> list[str]:
    """The lines of comment directly above a line, but for those at the top of the text."""
    start = first
    while start > 0 and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    return lines[start:first] if start > 0 else []
