"""A table from name to function: refuses duplicates, and an unknown name lists the known ones."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from emobench.errors import unknown_name

Function = TypeVar("Function", bound=Callable[..., Any])


class Registry(Mapping[str, Callable[..., Any]]):
    """Named functions of one kind.

    >>> edits = Registry("edit")
    >>> @edits.register("double")
    ... def double(x):
    ...     return 2 * x
    >>> edits["double"](4)
    8
    >>> list(edits)
    ['double']
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._functions: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Function], Function]:
        """Decorator that files a function under ``name``.

        Raises:
            ValueError: the name is taken.
        """

        def add(function: Function) -> Function:
            if name in self._functions:
                raise ValueError(f"{self.kind} {name!r} is already registered")
            self._functions[name] = function
            return function

        return add

    def __getitem__(self, name: str) -> Callable[..., Any]:
        """Returns the function. Raises UserError naming the known ones if there is none."""
        try:
            return self._functions[name]
        except KeyError:
            raise unknown_name(self.kind, name, self._functions) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)
