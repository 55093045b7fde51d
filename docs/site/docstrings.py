"""Docstrings as Markdown: doctests become code blocks, and roles such as :class: plain code."""

import re

import griffe

_DOCTEST = re.compile(r"^( *)(>>> .*(?:\n\1(?=\S).*)*)", re.MULTILINE)
_ROLE = re.compile(r":(?:class|data|func|mod|meth):(`[^`]+`)")


class Docstrings(griffe.Extension):
    """An extension of griffe, which reads the code for mkdocstrings."""

    def on_instance(self, *, obj: griffe.Object, **more) -> None:
        """Rewrites an object's docstring."""
        if obj.docstring:
            text = _ROLE.sub(r"\1", obj.docstring.value)
            obj.docstring.value = _DOCTEST.sub(r"\1```pycon\n\1\2\n\1```", text)
