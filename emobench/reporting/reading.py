"""Result files, each with the stage that makes it: what is missing or broken is told in one line."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from emobench.errors import UserError


def existing(path: Path, stage: str) -> Path:
    """The path, if there is a file.

    Raises:
        UserError: there is none.
    """
    if not path.is_file():
        raise UserError(f"no {path}; run the stage {stage!r} first (dvc repro {stage})")
    return path


def read_json(path: Path, stage: str) -> dict[str, Any]:
    """A JSON file.

    Raises:
        UserError: there is none, or it is no JSON.
    """
    try:
        return json.loads(existing(path, stage).read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{path} is not valid JSON; remove it and run dvc repro {stage}") from None


def read_table(path: Path, stage: str) -> pd.DataFrame:
    """A table, csv or parquet.

    Raises:
        UserError: there is none, or it can't be read.
    """
    existing(path, stage)
    try:
        return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} can't be read ({reason}); remove it and run dvc repro {stage}") from None
