"""Contracts: what will be done to a test set, written down with its digest before the test is read.

A file of contracts only grows: each stands in it once, in the order in which they came to read the test. So it tells
whether a result is of a first look, or of a second one after something was changed.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emobench.errors import UserError
from emobench.files import write_json

FILE = "contract.json"
SHOWN = 12
"""Digits of a digest that people see."""
MOST_KEYS = 6
"""Keys named in a sentence."""
CHANGED = "changed after its test was"
"""What in_words says of a second look, and of nothing else."""

Contract = Mapping[str, Any]
"""Key with dots -> value, flat."""


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots.

    >>> flat({"edit": {"paper": {"tau": 0.0}, "taus": [1.0]}})
    {'edit.paper.tau': 0.0, 'edit.taus': [1.0]}
    """
    if not isinstance(values, Mapping) or (prefix and not values):
        return {prefix: values}
    joined = {f"{prefix}.{key}" if prefix else str(key): value for key, value in values.items()}
    return {name: inner for key, value in joined.items() for name, inner in flat(value, key).items()}


def digest(contract: Contract) -> str:
    """sha256 of a contract, whatever the order of its keys."""
    text = json.dumps(dict(contract), sort_keys=True, allow_nan=False, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def known(folder: Path) -> list[dict[str, Any]]:
    """The contracts that a report folder tells of, the first one first; none of an earlier version's.

    Raises:
        UserError: the file is not of its form, or a contract is not what its digest was made of.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))["contracts"]
        contracts = [dict(entry["contract"]) for entry in noted]
        whole = [digest(one) == entry["digest"] for one, entry in zip(contracts, noted, strict=True)]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path} is no file of contracts; take it from git again") from None
    if not all(whole):
        raise UserError(f"{path}: contract {whole.index(False) + 1} was altered after it was written; take it from git")
    return contracts


def sealed(folder: Path, contract: Contract) -> str:
    """Writes a contract to the folder's file, unless it stands there; to be called before the test is read.

    Returns:
        Its digest.
    """
    before = known(folder)
    # As it comes back from the file: a tuple is a list there.
    plain = json.loads(json.dumps(dict(contract), allow_nan=False))
    if plain not in before:
        noted = [{"digest": digest(one), "contract": one} for one in [*before, plain]]
        write_json(folder / FILE, {"contracts": noted})
    return digest(plain)


def differing(one: Contract, other: Contract) -> list[str]:
    """The keys in which two contracts differ, sorted."""
    return sorted(key for key in {*one, *other} if one.get(key) != other.get(key))


def in_words(contracts: list[dict[str, Any]], current: Contract | None = None) -> str:
    """Whether the test was read under one contract only; empty where none is noted.

    Args:
        contracts: see known.
        current: what would be done now, which may lack keys that are known only later.
    """
    if not contracts:
        return ""
    first, last = contracts[0], contracts[-1]
    if current is not None:
        agree = [one for one in contracts if not _against(one, current)]
        if not agree:
            # The one that is most alike; of several the latest.
            near = min(reversed(contracts), key=lambda one: len(_against(one, current)))
            keys = _named(_against(near, current))
            return f"{CHANGED} read: {keys} (contract {digest(near)[:SHOWN]}); a run reads it once more"
        last = agree[-1]
    if len(contracts) == 1:
        return f"{digest(last)[:SHOWN]}, unchanged since its test was first read"
    every = dict.fromkeys(key for one in contracts[1:] for key in differing(first, one))
    return (
        f"{digest(last)[:SHOWN]}, {CHANGED} first read: {len(contracts)} contracts have read it, "
        f"different in {_named(list(every))}"
    )


def _against(noted: Contract, current: Contract) -> list[str]:
    """The keys of the current contract in which a noted one differs, and keys that it lacks of the same sections."""
    sections = {key.split(".")[0] for key in current}
    return [key for key in differing(noted, current) if key in current or key.split(".")[0] in sections]


def _named(keys: list[str]) -> str:
    more = f" and {len(keys) - MOST_KEYS} more" if len(keys) > MOST_KEYS else ""
    return ", ".join(keys[:MOST_KEYS]) + more
