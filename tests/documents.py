"""The Markdown documents of the project, and the blocks of commands in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import dedent

from tests.configs import ROOT

FENCE = re.compile(
    r"(?:^ *<!-- not run: (?P<excuse>[^>]*?) -->\n)?"
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<kind>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
SHELL = ("bash", "console")


@dataclass(frozen=True)
class Block:
    """A fenced block; `excuse` is why its commands are not run, if they are not."""

    place: str
    kind: str
    text: str
    excuse: str | None

    @property
    def commands(self) -> str:
        """What a reader types."""
        if self.kind == "bash":
            return self.text
        return "".join(line.removeprefix("$ ") for line in self.text.splitlines(keepends=True) if line.startswith("$ "))


def documents() -> dict[str, str]:
    """The text of each by its path in the repository; the log is no guide."""
    files = [ROOT / "README.md", ROOT / "data/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files if path.name != "log.md"}


def blocks(document: str, text: str) -> Iterator[Block]:
    """All fenced blocks in their order."""
    for found in FENCE.finditer(text):
        line = text[: found.start("fence")].count("\n") + 1
        yield Block(f"{document}:{line}", found["kind"], dedent(found["text"]), found["excuse"])


def script(found: list[Block]) -> str:
    """One shell session that runs the blocks of a document and says where it is."""
    parts = [f"echo '== {block.place}'\n{block.commands}" for block in found if block.excuse is None]
    return "".join(["set -euo pipefail\n", *parts])
