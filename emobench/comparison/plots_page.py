"""The page that ``dvc plots show`` fills, with the scripts that draw in it: DVC's own fetches them from the network."""

from pathlib import Path

from emobench.errors import UserError
from emobench.files import replacing

FILE = "plots_page.html"
VEGA_LITE = "5.21"
"""The newest release of the language of DVC's templates, and of those in .dvc/plots."""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
{refresh_tag}
<title>emobench: DVC plots</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 1.5rem auto; max-width: 1400px;
  padding: 0 1rem; }}
#plots > div {{ display: block !important; margin: 0 0 2.5rem; overflow-x: auto; }}
table {{ border-spacing: 15px; }}
</style>
<script>{scripts}</script>
<script>
// A table without rows, such as the training of a network that was given, has no plot: no empty frame for it.
const drawn = window.vegaEmbed;
window.vegaEmbed = (place, spec) => Object.keys(spec).length
  ? drawn(place, spec, {{ actions: {{ export: true, source: false, compiled: false, editor: false }} }})
  : document.querySelector(place).remove();
</script>
</head>
<body>
<h1>DVC plots</h1>
<div id="plots">
{plots}
</div>
</body>
</html>
"""


def page() -> str:
    """The template, about 1 MB: with Vega, Vega-Lite and vega-embed as vl-convert-python brings them."""
    import vl_convert

    # None: no script of ours; its type hints know only text.
    bundle = vl_convert.javascript_bundle(None, VEGA_LITE)  # type: ignore[arg-type]
    scripts = bundle.replace("</script", "<\\/script")
    return PAGE.format(refresh_tag="{refresh_tag}", scripts=scripts, plots="{plot_divs}")


def install(root: Path) -> Path:
    """Writes the page to ``.dvc/plots_page.html`` and names it in ``.dvc/config.local``; git has neither.

    Args:
        root: of the repository.

    Returns:
        Where the page is.

    Raises:
        UserError: no DVC repository.
    """
    from dvc.config import Config

    folder = root / ".dvc"
    if not folder.is_dir():
        raise UserError(f"{root.resolve()} has no .dvc; run this in the repository, or dvc init first")
    with replacing(folder / FILE) as temporary:
        temporary.write_text(page(), encoding="utf-8")
    with Config(str(folder), validate=False).edit("local") as config:
        config.setdefault("plots", {})["html_template"] = FILE
    return folder / FILE
