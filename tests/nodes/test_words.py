"""What a node says while it runs, where ComfyUI shows text on it."""

import pytest
import torch
from support.graph import PROMPT, clip_of, interpolate, part, run, sample, stage

notes = part("nodes.host.notes")


@pytest.fixture
def said(monkeypatch):
    said = []
    monkeypatch.setattr(notes, "_show", lambda lines: said.append(list(lines)))
    monkeypatch.setattr(notes, "PATIENCE", 0.0)
    return said


def test_a_sampler_counts_its_steps_and_ends_with_how_long_it_took(said):
    sample(steps=2)
    assert said == [["sampling 1/2"], ["sampling 2/2"], said[-1]]
    assert said[-1][0].startswith("done in ")


def test_a_vae_counts_frames(said):
    run("LaVieVAEDecode", samples={"samples": torch.zeros(1, 4, 3, 4, 6)}, vae=stage("base").vae)
    assert ["decoding 3/3"] in said
    said.clear()
    run("LaVieVAEEncode", images=clip_of(2, 32, 48), vae=stage("base").vae)
    assert ["encoding 2/2"] in said


def test_one_node_says_which_of_its_stages_is_at_work(said):
    size = {"width": 48, "height": 32, "length": 2}
    run("LaVieTextToVideo", prompt=PROMPT, stages="base + interpolation", steps=1, **size)
    words = [lines[-1] for lines in said]
    parts = list(dict.fromkeys(each.rsplit(" ", 1)[0] for each in words[1:-1]))
    assert parts == [
        *("base: loading", "base: sampling", "base: decoding", "interpolation: loading", "interpolation: encoding"),
        *("interpolation: sampling", "interpolation: decoding"),
    ]


def test_a_sentence_stays_while_the_node_counts(said):
    interpolate(clip_of(2, 23, 31))
    assert said[0][0].startswith("The images of 31×23 pixels are taken as 32×24")
    assert len(said) > 3
    assert all(lines[0] == said[0][0] for lines in said)


def test_a_loader_and_a_quick_node_say_nothing(said, monkeypatch):
    run("LaVieLoader", stage="base")
    monkeypatch.setattr(notes, "PATIENCE", 3600.0)
    sample(steps=1)
    assert said == []
