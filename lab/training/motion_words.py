"""Teach a family's text encoder to tell words of motion apart, before the base learns from clips.

    python -m lab.training.motion_words FAMILY [STEPS]

An encoder that has learnt from images alone has no reason to tell "left" from "right", so no network can follow those
words. Here it learns to repeat its output, plus a fixed vector for each motion and each camera move, from the word
that names it onwards. Opposites get opposite vectors, all of them in directions that other words hardly use. What the
networks have learnt about places, light and colours stays.
"""

from __future__ import annotations

import sys
from copy import deepcopy

import torch
from torch import Tensor

from lavie.config import find_family
from lavie.models.text_encoder import TextEncoder, load_text_encoder, save_text_model

from ..world.captions import CAMERAS, MOTIONS, caption
from ..world.grammar import scene_of
from ..world.scene import Scene

LENGTH = 4.0  # of a motion's vector; an embedded token is about 8 long
OPPOSITES = (
    *(("moving right", "moving left"), ("moving down", "moving up"), ("growing", "shrinking")),
    *(("pan right", "pan left"), ("zoom in", "zoom out"), ("tilt down", "tilt up")),
)
PHRASES = {**MOTIONS, **CAMERAS}
BATCH, LEARNING_RATE, STEPS = 32, 1e-3, 500
WORDS = 24  # tokens that a caption fills, about


def tokens_of(encoder: TextEncoder, texts: list[str]) -> Tensor:
    """int64 [texts, 77]."""
    length = encoder.tokenizer.model_max_length
    return encoder.tokenizer(texts, padding="max_length", max_length=length, return_tensors="pt").input_ids


def motion_vectors(states: Tensor) -> dict[str, Tensor]:
    """A vector [channels] for each motion, among the directions in which embeddings [n, channels] vary least.

    The very least are left out: the encoder's last norm cannot reach them.
    """
    _, axes = torch.linalg.eigh(torch.cov(states.T))  # variance rising
    axes = axes.T[len(axes) // 4 :]
    vectors = {}
    for used, (motion, opposite) in enumerate(OPPOSITES):
        vectors[motion], vectors[opposite] = LENGTH * axes[used], -LENGTH * axes[used]
    vectors["hovering"] = LENGTH * axes[len(OPPOSITES)]
    return vectors


def said_motions(encoder: TextEncoder, text: str, scene: Scene) -> list[tuple[str, int]]:
    """The motions that a caption names, each with the place of the last token of its phrase."""
    meant = [scene.camera, *([scene.guest.motion] if scene.guest is not None else [])]
    found = []
    for motion in meant:
        ends = [text.rindex(phrase) + len(phrase) for phrase in PHRASES.get(motion, ()) if phrase in text]
        if ends:
            found.append((motion, len(encoder.tokenizer(text[: max(ends)]).input_ids) - 2))
    return found


def batch(encoder: TextEncoder, generator: torch.Generator) -> tuple[list[str], list[list[tuple[str, int]]]]:
    """Captions, a fifth of them without words of motion, and where motions are named."""
    scenes = [scene_of(5, int(torch.randint(2**31, (), generator=generator))) for _ in range(BATCH)]
    texts = [caption(scene, generator, still=i % 5 == 0) for i, scene in enumerate(scenes)]
    return texts, [said_motions(encoder, text, scene) for text, scene in zip(texts, scenes, strict=True)]


def spread(encoder: TextEncoder, steps: int) -> None:
    """Teaches the encoder in place."""
    before, model = deepcopy(encoder.model).eval(), encoder.model.train().requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        some = [text for _ in range(8) for text in batch(encoder, generator)[0]]
        vectors = motion_vectors(before(tokens_of(encoder, some)).last_hidden_state[:, :WORDS].flatten(0, 1))
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        texts, motions = batch(encoder, generator)
        tokens = tokens_of(encoder, texts)
        with torch.no_grad():
            wanted = before(tokens).last_hidden_state
            for row, found in enumerate(motions):
                for motion, end in found:
                    wanted[row, end:] += vectors[motion]
        loss = (model(tokens).last_hidden_state - wanted).square().sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: error {loss.item() / LENGTH**2:.3f} of a vector's square", flush=True)


def main(folder: str, steps: int) -> None:
    torch.manual_seed(0)
    family = find_family(folder)
    path = family.path(family.base.text_encoder)
    encoder = load_text_encoder(path, family.path(family.base.tokenizer), dtype=torch.float32)
    spread(encoder, steps)
    save_text_model(encoder.model.half().eval(), path)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else STEPS)
