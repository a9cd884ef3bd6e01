"""The grammar of captions: one canonical form and a modest number of paraphrases, all in lower case."""

import torch

from .scene import BACKGROUNDS, COLOURS, SHAPES, STILL_COLOURS, Scene, choice, uniform

PLACES = {  # the first is canonical
    "green grass": (
        "over green grass",
        "above green grass",
        "over a meadow",
        "above a green meadow",
        "on the grass",
    ),
    "blue sky": ("over a blue sky", "in the blue sky", "in a blue sky", "over the blue sky with clouds"),
    "night sky": ("over a night sky", "in the night sky", "in a dark night sky with stars", "at night"),
    "desert": ("over a desert", "in the desert", "over the sand of a desert", "above desert sand"),
    "snow": ("over snow", "above the snow", "in the snow", "over a field of white snow"),
    "sea": ("over the sea", "above the sea", "over the ocean", "over the blue sea with waves"),
    "sunset": ("over a sunset", "at sunset", "in front of a sunset", "in the evening at sunset"),
}
MOTION_PHRASES = {
    "moving left": (
        "moving left",
        "that moves to the left",
        "flying left",
        "going left",
        "moving to the left",
    ),
    "moving right": (
        "moving right",
        "that moves to the right",
        "flying right",
        "going right",
        "moving to the right",
    ),
    "moving up": ("moving up", "that moves up", "flying up", "rising up", "going up"),
    "moving down": ("moving down", "that moves down", "falling down", "sinking down", "going down"),
    "growing": ("growing", "that grows", "getting bigger", "growing larger"),
    "shrinking": ("shrinking", "that shrinks", "getting smaller", "shrinking away"),
    "bouncing": ("bouncing", "that bounces", "bouncing up and down", "hopping"),
    "spinning": ("spinning", "that spins", "turning around", "spinning around"),
    "standing still": ("standing still", "that stands still", "floating still", "staying still"),
}
CAMERA_PHRASES = {
    "panning left": ("the camera pans left", "camera panning left"),
    "panning right": ("the camera pans right", "camera panning right"),
    "zooming in": ("the camera zooms in", "camera zooming in"),
}
BIG, SMALL = 0.265, 0.25  # radii in heights, beyond which a sprite may be called so
ADJECTIVES = ("cute", "shiny", "beautiful", "bright", "lovely", "funny", "happy", "smiling")
OPENINGS = ("a video of", "a clip of", "an animation of", "a movie with", "a cartoon of")
STILL_OPENINGS = ("a picture of", "an image of", "a photo of", "a drawing of")
EXTRA_WORDS = (
    "the and an to of on with small little big tiny large very fast slowly quickly slow high quality soft",
    "colorful colourful style painting scene background one two is are it its there while under through across",
    "from into by",
)


def caption(scene: Scene, rng: torch.Generator | None = None, still: bool = False) -> str:
    """A caption of the scene: the canonical one without `rng`, else a paraphrase drawn by it.

    With `still` it describes a single picture, and no word of motion appears.
    """
    motion, place = MOTION_PHRASES[scene.motion], PLACES[scene.background]
    if rng is None or uniform(rng, 0, 1) < 0.4:
        words = ["a", scene.colour, scene.shape, *([] if still else [motion[0]]), place[0]]
        return _with_articles(" ".join(words)) + _camera(scene, rng, still)
    action = "" if still else " " + choice(rng, motion)
    sentence = f"{_subject(scene, rng)}{action}{choice(rng, (' ', ', '))}{choice(rng, place)}"
    if uniform(rng, 0, 1) < 0.3:
        sentence = f"{choice(rng, STILL_OPENINGS if still else OPENINGS)} {sentence}"
    return _with_articles(sentence) + _camera(scene, rng, still)


def _camera(scene: Scene, rng: torch.Generator | None, still: bool) -> str:
    if still or scene.camera == "still":
        return ""
    phrases = CAMERA_PHRASES[scene.camera]
    return ", " + (phrases[0] if rng is None else choice(rng, phrases))


def vocabulary() -> list[str]:
    """Every word that a caption can hold, and some common ones besides, sorted; punctuation left out."""
    phrases = [*COLOURS, *STILL_COLOURS, *SHAPES, *BACKGROUNDS, *ADJECTIVES, *OPENINGS, *STILL_OPENINGS, *EXTRA_WORDS]
    for options in (*PLACES.values(), *MOTION_PHRASES.values(), *CAMERA_PHRASES.values()):
        phrases += options
    return sorted({word for phrase in phrases for word in phrase.split()} | {"a"})


def _subject(scene: Scene, rng: torch.Generator) -> str:
    article = choice(rng, ("a ", "a ", "the ", "one ", ""))
    adjective = ""
    if uniform(rng, 0, 1) < 0.35:
        adjective = choice(rng, (*ADJECTIVES, *_size_words(scene))) + " "
    return f"{article}{adjective}{scene.colour} {scene.shape}"


def _size_words(scene: Scene) -> tuple[str, ...]:
    if scene.radius[0] != scene.radius[1]:
        return ()
    if scene.radius[0] > BIG:
        return ("big", "large")
    return ("small", "little") if scene.radius[0] < SMALL else ()


def _with_articles(sentence: str) -> str:
    return " ".join(
        "an" if word == "a" and following[:1] in "aeiou" else word
        for word, following in zip(sentence.split(" "), [*sentence.split(" ")[1:], "-"], strict=True)
    )
