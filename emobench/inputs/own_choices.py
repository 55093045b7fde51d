"""Whether the user's own selection strategies and score functions are there, and the concepts that edits name."""

from collections.abc import Iterator
from pathlib import Path

from emobench.errors import UserError, unknown_name
from emobench.own_code import own_function
from emobench.params import Params
from emobench.settings.network import file_of
from emobench.vocabulary.card import Vocabulary


def own_mistakes(params: Params, root: Path) -> Iterator[str]:
    """A line for each of params.dissect.similarity_fns and params.edit.arms that is a function and can't be had."""
    chosen = {"dissect.similarity_fns": params.dissect.similarity_fns, "edit.arms": params.edit.arms}
    for key, texts in chosen.items():
        for text in texts:
            file, function = file_of(text)
            if not file:
                continue
            try:
                own_function(f"{root / file}:{function}")
            except UserError as error:
                yield f"params: {key}: {error}"


def check_concepts_of_edits(params: Params, vocabulary: Vocabulary) -> None:
    """Raises UserError where params.edit.concepts names one that the concept set of the edits lacks."""
    known = vocabulary.concepts(params.edit.concept_set)
    for concept in params.edit.concepts:
        if concept not in known:
            raise unknown_name(f"concept of {params.edit.concept_set} in params: edit.concepts:", concept, known)
