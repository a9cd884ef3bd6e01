"""The words of the world: a tokenizer made of them, and a text encoder that keeps what the bundled one knows.

python -m lab.training.words FAMILY
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from lavie.models.text_encoder import load_text_encoder, save_text_model

from ..architecture import new_text_encoder
from ..tokenizer import build_tokenizer
from ..world.captions import vocabulary

BUNDLED = Path(__file__).parents[2] / "lavie" / "weights" / "tiny"


@torch.no_grad()
def inherited(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The bundled encoder with a row for every new token: known words keep theirs, new ones start random, at the same
    deviation."""
    torch.manual_seed(0)
    known = load_text_encoder(BUNDLED / "text_encoder", BUNDLED / "tokenizer", dtype=torch.float32)
    model = new_text_encoder(tokenizer)
    weights = {name: value.clone() for name, value in known.model.state_dict().items()}
    name = next(name for name in weights if name.endswith("token_embedding.weight"))
    old, old_ids = weights[name], known.tokenizer.get_vocab()
    rows = torch.randn(len(tokenizer), old.shape[1]) * old.std()
    for token, index in tokenizer.get_vocab().items():
        if token in old_ids:
            rows[index] = old[old_ids[token]]
    model.load_state_dict(weights | {name: rows})
    return model


def main(folder: Path) -> None:
    build_tokenizer([*vocabulary(), ",", "."], folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    save_text_model(inherited(tokenizer).half(), folder / "text_encoder")
    print(f"{len(vocabulary())} words, {len(tokenizer)} tokens")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
