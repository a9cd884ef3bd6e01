"""Teach a family's text encoder to tell words of motion apart, before the base learns from clips.

    python -m lab.scripts.spread_motion_words FAMILY [STEPS]

A text encoder that has learnt from images alone has no reason to tell "left" from "right": in the family of 2026-11
swapping them moved the embedding by 9 % of its length (colours: 79 %), and so no clip ever followed the word. CLIP's
encoder is trained on text before any diffusion; here the encoder learns to say what it said, plus a fixed vector for
each motion from the word on that names it. Opposites get opposite vectors, and all of them stand in directions that the
other words hardly use. What the networks have learnt about colours, shapes and places stays.
"""

import sys
from copy import deepcopy

import torch
from torch import Tensor

from lab.sprites import MOTIONS, Scene, caption, sample_scene
from lab.sprites.captions import MOTION_PHRASES
from lavie.config import find_family
from lavie.models.text_encoder import TextEncoder, load_text_encoder, save_text_model

LENGTH = 4.0  # of a motion's vector; an embedded token is about 8 long
OPPOSITES = (("moving right", "moving left"), ("moving down", "moving up"), ("growing", "shrinking"))
BATCH, LEARNING_RATE = 32, 1e-3


def tokens_of(encoder: TextEncoder, texts: list[str]) -> Tensor:
    """int64 [texts, 77]."""
    return encoder.tokenizer(
        texts, padding="max_length", max_length=encoder.tokenizer.model_max_length, return_tensors="pt"
    ).input_ids


def motion_vectors(states: Tensor) -> dict[str, Tensor]:
    """A vector [channels] for each motion, among the directions in which embeddings [n, channels] vary least.

    The very least are left out: the encoder's last norm cannot reach them.
    """
    _, axes = torch.linalg.eigh(torch.cov(states.T))  # variance rising
    axes = axes.T[len(axes) // 4 :]
    vectors, used = {}, 0
    for motion, opposite in OPPOSITES:
        vectors[motion], vectors[opposite] = LENGTH * axes[used], -LENGTH * axes[used]
        used += 1
    for motion in MOTIONS:
        if motion not in vectors:
            vectors[motion] = LENGTH * axes[used]
            used += 1
    return vectors


def motion_ends(encoder: TextEncoder, text: str, scene: Scene) -> int | None:
    """The place of the last token of the phrase of motion; None where the text has none."""
    found = [text.index(phrase) + len(phrase) for phrase in MOTION_PHRASES[scene.motion] if phrase in text]
    return None if not found else len(encoder.tokenizer(text[: max(found)]).input_ids) - 2


def batch(encoder: TextEncoder, generator: torch.Generator) -> tuple[list[str], list[tuple[str, int | None]]]:
    """Captions, a fifth of them without words of motion, and where the motion is named."""
    scenes = [sample_scene(generator) for _ in range(BATCH)]
    texts = [caption(scene, generator, still=i % 5 == 0) for i, scene in enumerate(scenes)]
    return texts, [(s.motion, motion_ends(encoder, t, s)) for s, t in zip(scenes, texts, strict=True)]


def main(folder: str, steps: int) -> None:
    family = find_family(folder)
    path = family.path(family.base.text_encoder)
    encoder = load_text_encoder(path, family.path(family.base.tokenizer), dtype=torch.float32)
    before, model = encoder.model.eval(), deepcopy(encoder.model).train().requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        some = [text for _ in range(8) for text in batch(encoder, generator)[0]]
        states = before(tokens_of(encoder, some)).last_hidden_state[:, :24].flatten(0, 1)
    vectors = motion_vectors(states)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        texts, motions = batch(encoder, generator)
        tokens = tokens_of(encoder, texts)
        with torch.no_grad():
            wanted = before(tokens).last_hidden_state
            for row, (motion, end) in enumerate(motions):
                if end is not None:
                    wanted[row, end:] += vectors[motion]
        loss = (model(tokens).last_hidden_state - wanted).square().sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: error {loss.item() / LENGTH**2:.3f} of a vector's square", flush=True)
    save_text_model(model.half().eval(), path)


if __name__ == "__main__":
    torch.manual_seed(0)
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 600)
