"""HTML as a tree of plain values, for tests that ask what a page says."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input", "hr"}


@dataclass
class Element:
    """One element, with its text and elements in order."""

    tag: str
    attributes: dict[str, str]
    content: list["Element | str"] = field(default_factory=list)

    def walk(self) -> Iterator["Element"]:
        yield self
        for each in self.content:
            if isinstance(each, Element):
                yield from each.walk()

    def all(self, tag: str) -> list["Element"]:
        return [each for each in self.walk() if each.tag == tag]

    def by_id(self, name: str) -> "Element":
        (found,) = (each for each in self.walk() if each.attributes.get("id") == name)
        return found

    @property
    def text(self) -> str:
        """All text, with single spaces; that of style sheets left out."""
        parts = (
            each if isinstance(each, str) else "" if each.tag == "style" else f" {each.text} " for each in self.content
        )
        return " ".join("".join(parts).split())

    def rows(self) -> list[list[str]]:
        """The cells of a table's rows."""
        return [[cell.text for cell in row.walk() if cell.tag in {"th", "td"}] for row in self.all("tr")]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("document", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].content.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].content.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].content.append(data)


def read_html(text: str) -> Element:
    """Parse it; elements that are not closed in their order are a failure."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [reader.root], "an element is left open"
    return reader.root
