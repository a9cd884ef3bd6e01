"""What an artist finds who types a task into the search of the node menu."""

import pytest
from support.graph import PACK

NODES = PACK.NODE_CLASS_MAPPINGS
TITLES = PACK.NODE_DISPLAY_NAME_MAPPINGS


def found(words):
    """The nodes whose name or aliases hold these words."""
    return {name for name, node in NODES.items() if any(words in each for each in texts(name, node))}


def texts(name, node):
    return [TITLES[name].lower(), *(alias.lower() for alias in node.SEARCH_ALIASES)]


@pytest.mark.parametrize(
    ("task", "node"),
    [
        ("text to video", "LaVieTextToVideo"),
        ("image to video", "LaVieImageToVideo"),
        ("animate image", "LaVieImageToVideo"),
        ("extend video", "LaVieAutoregressiveExtender"),
        ("continue video", "LaVieAutoregressiveExtender"),
        ("long video", "LaVieLongVideoSampler"),
        ("prompt travel", "LaViePromptSchedule"),
        ("first last frame", "LaVieTransition"),
        ("frame interpolation", "LaVieTemporalInterpolator"),
        ("slow motion", "LaVieTemporalInterpolator"),
        ("upscale video", "LaVieVideoUpscaler"),
        ("load lora", "LaVieLoraLoader"),
        ("train lora", "LaVieLoraTrainer"),
    ],
)
def test_a_task_finds_one_node(task, node):
    assert found(task) == {node}


def test_no_two_nodes_have_the_same_alias():
    aliases = [alias for node in NODES.values() for alias in node.SEARCH_ALIASES]
    assert len(aliases) == len(set(aliases))
