"""Hooks of mkdocs.yml: parts of pages that come from the code, and data/README.md as a page of the site."""

import re
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.hooks.command_line import command_line
from docs.hooks.figures import figures
from docs.hooks.parameters import parameters

ROOT = Path(__file__).resolve().parents[2]
GENERATED: dict[str, Callable[[], str]] = {"command_line": command_line, "figures": figures, "parameters": parameters}
MARKER = re.compile(r"^<!-- generated: (\w+)[^>]*-->$", re.MULTILINE)
# Guides that a test applies name the file that a block belongs to.
NAMED_BLOCK = re.compile(r"^```(\w+) file=(\S+).*$", re.MULTILINE)
DATA_README = "data/README.md"
DATA_PAGE = "data.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add data/README.md, whose links are relative to its own folder."""
    text = (ROOT / DATA_README).read_text(encoding="utf-8").replace("](../docs/", "](")
    files.append(File.generated(config, DATA_PAGE, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what is generated; links out of docs/ to data/README.md lead to its page."""
    markdown = MARKER.sub(lambda found: _generated(found[1], page), markdown)
    markdown = NAMED_BLOCK.sub(r'```\1 title="\2"', markdown)
    return markdown.replace(f"](../{DATA_README}", f"]({DATA_PAGE}")


def _generated(name: str, page: Page) -> str:
    if name not in GENERATED:
        raise PluginError(f"{page.file.src_uri}: generated: {name}; expected one of {', '.join(GENERATED)}")
    return GENERATED[name]()
