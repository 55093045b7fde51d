"""What mkdocs does beyond Markdown: pages made from the code, the project's own pages, and formulas as MathML."""

import posixpath
import re
from pathlib import Path

import latex2mathml.converter
import pages
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
OWN = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages that lie beside docs/, and where they stand in the site."""
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s#:]+)((?:#[^)]*)?)\)")
_CODE = re.compile(r"(<pre[^>]*>(?:<span></span>)?<code)>")
_MATH = re.compile(r'<(span|div) class="arithmatex">\\([\[(])(.*?)\\[\])]</\1>', re.DOTALL)


def on_files(files, config):
    """Adds the generated pages."""
    for name, text in pages.made().items():
        files.append(File.generated(config, name, content=text))
    for name, place in OWN.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown, page, config, files):
    """Leads links to files beside docs/ to where they stand in the site: on GitHub they work as written."""
    return _LINK.sub(lambda link: _placed(*link.groups(), page.file.src_uri), markdown)


def _placed(text: str, target: str, anchor: str, here: str) -> str:
    """A link on the page ``here`` (its path below docs/); to a file that is no page of the site, its path as code."""
    own = here in OWN.values()
    path = posixpath.normpath(posixpath.join("" if own else f"docs/{posixpath.dirname(here)}", target))
    place = OWN.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
    if place is None:
        return f"{text} (`{path}`)" if path not in text else text
    return f"[{text}]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"


def on_page_content(html, page, config, files):
    """Formulas as MathML, which browsers draw without a script; code that may have to scroll can be reached by keys."""
    return _CODE.sub(r'\1 tabindex="0">', _MATH.sub(_drawn, html))


def _drawn(found: re.Match) -> str:
    text = found[3].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">").strip()
    block = found[2] == "["
    drawn = latex2mathml.converter.convert(text, display="block" if block else "inline")
    return f'<div class="formula" tabindex="0">{drawn}</div>' if block else drawn
