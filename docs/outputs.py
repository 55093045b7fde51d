"""Runs the Python blocks of tutorials and writes what they print into the blocks below: python docs/outputs.py."""

import contextlib
import io
import re
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("tutorials/reading-a-verdict.md", "explanation/power.md")
_SHOWN = re.compile(r"(```python\n(.*?)```\n```text\n)(.*?)(```)", re.DOTALL)


def filled(text: str, folder: Path) -> str:
    """A page with what its blocks print, one after the other in one namespace, in a folder with ``reports/demo``."""
    names: dict[str, object] = {}

    def run(found: re.Match[str]) -> str:
        printed = io.StringIO()
        with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
            exec(compile(found[2], "<tutorial>", "exec"), names)
        return f"{found[1]}{printed.getvalue()}{found[4]}"

    return _SHOWN.sub(run, text)


def with_demo(folder: Path) -> Path:
    """Makes the committed demo the ``reports/demo`` of a folder, as it is after a run."""
    (folder / "reports").mkdir()
    committed = [ROOT / "reports" / "reference" / "demo", ROOT / "reports" / "demo"]
    (folder / "reports" / "demo").symlink_to(next(path for path in committed if path.is_dir()))
    return folder


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        folder = with_demo(Path(temporary))
        for page in PAGES:
            path = ROOT / "docs" / page
            path.write_text(filled(path.read_text(encoding="utf-8"), folder), encoding="utf-8")
