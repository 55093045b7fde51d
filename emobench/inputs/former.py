"""What an earlier call of ``emobench use`` asked for, as far as the params.yaml at hand still tells."""

from pathlib import Path
from typing import Any

from emobench.errors import UserError
from emobench.inputs.given import Given
from emobench.params import Params, load_params

WISHES = ("layers", "picture", "classes", "output")
"""Of the network; what a call doesn't name is as in the preset."""


def former_params(root: Path, name: str) -> Params | None:
    """The params.yaml at hand, if it is whole and of this benchmark."""
    try:
        params = load_params(root / "params.yaml")
    except UserError:
        return None
    return params if params.name == name else None


def keep_options(section: Any, given: Given, former: Params | None) -> list[str]:
    """Keeps the options of the same architecture that this call doesn't set, and says what isn't kept.

    Args:
        section: network, of params.yaml, with what this call asks for; changed.
        given: the user's wishes.
        former: params before this call.

    Returns:
        Lines for the user.
    """
    if former is None:
        return []
    before, said = former.network, []
    if before.architecture == section["architecture"]:
        kept = {
            key: value
            for key, value in before.options.items()
            if key not in given.options and (key not in section["options"] or section["options"][key] != value)
        }
        section["options"] |= kept
        words = ", ".join(f"{key}={value}" for key, value in kept.items())
        said += [f"network.options: {words} as in the params.yaml before; --option sets others"] if kept else []
    elif not given.network:
        said.append(f"network: {before.architecture} of the params.yaml before is not kept; name it by --network again")
    lost = [f"--{key}" for key in WISHES if getattr(before, key, None) not in (None, "auto", "", [])
            and not getattr(given, key)]  # fmt: skip
    if lost:
        said.append(f"not kept from the params.yaml before: {', '.join(lost)}; give them again where still wanted")
    return said
