"""What stands in the documentation's fences: scripts, commands, and what commands print."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r'^```(\w*)(?: title="([^"]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language (may be none), its title (the file that it is) and its text."""

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in their order."""
    return [Block(*found) for found in _FENCE.findall(page.read_text(encoding="utf-8"))]


def files(page: Path) -> dict[str, str]:
    """Name -> text of the files that a page tells to write."""
    return {block.title: block.text for block in blocks(page) if block.title}


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command of a page: lines of its blocks without a language, or where they have any, after $."""
    for block in blocks(page):
        if block.language:
            continue
        lines = block.text.replace("\\\n", " ").splitlines()
        prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        for line in prompted or lines:
            words = shlex.split(line, comments=True)
            ends = [at for at, word in enumerate(words) if word in ("&&", "|")]
            for first, last in zip([-1, *ends], [*ends, len(words)], strict=True):
                if first + 1 < last:
                    yield words[first + 1 : last]
