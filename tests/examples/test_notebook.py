"""The notebook of the library, every cell run."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "library.ipynb"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_cell_runs_and_the_last_tells_a_verdict(tmp_path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert outputs[0][-1].data["text/plain"].startswith("['conv1a',")
    verdict = "".join(output.text for output in outputs[-1] if output.output_type == "stream")
    assert "percentage points: " in verdict
    assert any(word in verdict for word in ("no evidence", "improves", "harms"))


def test_it_is_kept_without_outputs() -> None:
    """What a machine printed would go stale, and differ on the next."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    nbformat.validate(notebook)
