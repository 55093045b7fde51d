"""Texts to a CLIP's tokens: by CLIP's own byte pairs, or by the tokenizer that lies beside a model from a hub."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import open_clip
import torch
from open_clip.tokenizer import get_clean_fn

from emobench.errors import UserError

FILE, SETTINGS, SPECIAL = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
CLEANING = ("canonicalize", "lower", "whitespace")


class Tokenizer(Protocol):
    """Turns texts into tokens int64 (texts, context length)."""

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """The texts' tokens."""


@dataclass(frozen=True)
class HubTokenizer:
    """A tokenizer of Hugging Face's kind, used as open_clip's ``HFTokenizer`` does: cut and padded to one length.

    ``files``: what it was read from, by name, so that a copy of the model can take them along.
    """

    encoder: Any
    clean: Callable[[str], str]
    files: Mapping[str, bytes]

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Tokens int64 (texts, context length)."""
        encoded = self.encoder.encode_batch([self.clean(text) for text in texts])
        return torch.tensor([tokens.ids for tokens in encoded])


def tokenizer_of(text_config: Mapping[str, Any], folder: Path | None) -> Tokenizer:
    """The tokenizer of a ``text_cfg``.

    Args:
        text_config: in open_clip's form.
        folder: where the model's own tokenizer lies, if it has one.

    Raises:
        UserError: it needs a file that is not there, or something that open_clip does and we don't.
    """
    length, options = text_config.get("context_length", 77), dict(text_config.get("tokenizer_kwargs") or {})
    if "hf_tokenizer_name" not in text_config:
        if options:
            raise UserError(f"clip: tokenizer_kwargs {options} need another tokenizer than CLIP's, which isn't named")
        return open_clip.SimpleTokenizer(context_length=length)
    name = text_config["hf_tokenizer_name"]
    if folder is None or not (folder / FILE).is_file():
        raise UserError(
            f"clip: this model's text side needs the tokenizer {name} from a model hub; expected clip.input to be the "
            f"model's whole folder with {FILE} in it"
        )
    clean = options.pop("clean", "whitespace")
    if clean not in CLEANING or any(options.values()) or text_config.get("tokenizer_mode"):
        raise UserError(f"clip: the tokenizer {name} with {text_config.get('tokenizer_kwargs')} is not supported")
    files = {part: (folder / part).read_bytes() for part in (FILE, SETTINGS, SPECIAL) if (folder / part).is_file()}
    return HubTokenizer(_encoder(folder / FILE, files, length), get_clean_fn(clean), files)


def _encoder(path: Path, files: Mapping[str, bytes], length: int) -> Any:
    """The tokenizer itself, which cuts and pads to ``length``."""
    from tokenizers import Tokenizer as Encoder

    try:
        encoder = Encoder.from_buffer(files[FILE])
        settings: dict[str, Any] = {}
        for name in (SPECIAL, SETTINGS):
            settings |= json.loads(files.get(name, b"{}"))
    except Exception as error:  # The library's errors have no type of their own.
        raise UserError(f"{path} is no tokenizer file: {' '.join(str(error).split())[:100]}") from None
    pad = settings.get("pad_token")
    pad = pad["content"] if isinstance(pad, dict) else pad
    number = encoder.token_to_id(pad) if pad else None
    if number is None:
        raise UserError(f"{path}: its pad_token is {pad!r}; expected one of its tokens, named in {SETTINGS}")
    encoder.enable_truncation(length)
    encoder.enable_padding(direction=settings.get("padding_side", "right"), pad_id=number, pad_token=pad, length=length)
    return encoder
