"""LaVie Long Video Sampler and LaVie Prompt Schedule: the library's own long videos, from prompts that change."""

from types import SimpleNamespace

import pytest
import torch
from support.graph import PACK, PROMPT, extend, network, refused, run, sample, stage, wires

from lavie.long_video import METHODS

BY_BASE = [name for name, method in METHODS.items() if not method.stage]
PROMPTS = f"0: {PROMPT}\n12: a blue star over the sea"


def long(**given):
    small = {"steps": 2, "seed": 7, "num_frames": 20, "height": 32, "width": 48, "guidance_scale": 1.0}
    return run("LaVieLongVideoSampler", **{**wires("base"), **small, **given})[0]["samples"]


def schedule(prompts=PROMPTS, **given):
    return run("LaViePromptSchedule", **{"clip": stage("base").clip, "prompts": prompts, "num_frames": 20, **given})


@pytest.mark.parametrize("method", sorted(set(BY_BASE) - {"fifo"}))
def test_a_video_has_its_frames_and_its_seed(method):
    video = long(method=method)
    assert video.shape == (1, 4, 20, 4, 6)
    assert torch.equal(long(method=method), video)
    assert not torch.equal(long(method=method, seed=8), video)


@pytest.mark.parametrize("method", ["replacement", "independent"])
def test_it_begins_with_the_clip_of_the_base_sampler(method):
    clip = sample(num_frames=16, guidance_scale=1.0)
    assert torch.equal(long(method=method)[:, :, :16], clip)


def test_motion_reaches_the_network_of_the_graph():
    for method in ("free_noise", "replacement"):
        assert not torch.allclose(long(method=method, motion=5.0), long(method=method), atol=1e-3)
    assert not torch.allclose(long(method="replacement", anchor=0.5), long(method="replacement"), atol=1e-3)
    clip = sample()
    assert not torch.allclose(extend(clip, anchor=0.5), extend(clip), atol=1e-3)
    assert not torch.allclose(extend(clip, motion=5.0), extend(clip), atol=1e-3)
    assert torch.equal(extend(clip, motion=0.0, resample=1, drift_correction=0.0, anchor=0.0), extend(clip))


def test_it_offers_every_method_that_needs_no_other_stage():
    names, options = PACK.NODE_CLASS_MAPPINGS["LaVieLongVideoSampler"].INPUT_TYPES()["required"]["method"]
    assert names == BY_BASE
    assert all(f"{name}: {METHODS[name].help}." in options["tooltip"] for name in names)


def test_the_queue_of_fifo_can_be_set(monkeypatch):
    forward, evaluations = network("base").forward, []
    monkeypatch.setattr(network("base"), "forward", lambda *x, **more: evaluations.append(1) or forward(*x, **more))

    def cost(**given):
        evaluations.clear()
        long(method="fifo", num_frames=2, height=16, width=16, **given)
        return len(evaluations)

    least = cost(partitions=1, lookahead=False)
    assert least < cost(partitions=1)
    assert least < cost(partitions=2, lookahead=False)


def test_motion_injection_reaches_the_network_of_the_graph():
    positive, negative, _ = schedule(transition=0)
    story = {"method": "free_noise", "positive": positive, "negative": negative}
    assert not torch.allclose(long(**story, motion_injection=True), long(**story), atol=1e-3)


def test_prompts_change_where_they_say():
    positive, negative, num_frames = schedule(transition=0)
    plain, _, _ = schedule(f"0: {PROMPT}")
    assert num_frames == 20
    changed = long(method="independent", positive=positive, negative=negative)
    same = long(method="independent", positive=plain, negative=negative)
    torch.testing.assert_close(same, long(method="independent"), atol=1e-4, rtol=1e-4)
    difference = (changed - same).abs().mean((0, 1, 3, 4))
    assert difference[16:].mean() > 3 * difference[:8].mean()


def test_core_nodes_find_the_first_prompt():
    positive, negative, _ = schedule()
    assert positive[0][0].shape == stage("base").positive[0][0].shape
    assert torch.equal(positive[0][0], stage("base").positive[0][0])
    assert torch.equal(negative[0][0], stage("base").negative[0][0])


def test_split_halves_see_their_own_marks_with_prompts_per_frame(monkeypatch):
    positive, negative, _ = schedule()
    base, seen = stage("base").model, []

    def note(h, options):
        seen.append((list(options["cond_or_uncond"]), len(h)))
        return h

    options = {"transformer_options": {"patches": {"input_block_patch": [note]}}}
    model = SimpleNamespace(model=base.model, load_device=base.load_device, model_options=options)
    unet = network("base")
    forward = unet.forward

    def limited(x, *args, **kwargs):
        if len(x) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return forward(x, *args, **kwargs)

    monkeypatch.setattr(unet, "forward", limited)
    long(model=model, positive=positive, negative=negative, guidance_scale=2.0, method="independent", steps=1)
    assert {tuple(halves) for halves, _ in seen} == {(1,), (0,)}
    assert {frames for _, frames in seen} == {16}


def test_bad_input_is_answered_with_a_sentence():
    refused(lambda: schedule("4: late"), "frame 0")
    refused(lambda: schedule("0: a\n9: b\n4: c"), "frames must rise")
    refused(lambda: schedule("0: a\n9: b\n9: c"), "Two prompts begin at frame 9")
    refused(lambda: long(num_frames=0), "number of frames.*not 0")
    for method in ("free_noise", "free_long"):
        refused(lambda method=method: long(method=method, num_frames=10_000), "10000 frames.* GB.*replacement, fifo")
    refused(lambda: schedule("a red ball"), "first frame")
    refused(lambda: schedule("0: "), "empty")
    refused(lambda: schedule(num_frames=10), "begins at frame 12")
    positive = schedule()[0]
    refused(lambda: long(positive=positive, num_frames=24), "prompts for 20 frames")
    refused(lambda: long(method="fifo", resample=2), "no setting resample")
    refused(lambda: long(method="fifo", motion_injection=True), "no setting motion_injection")
    refused(lambda: long(**wires("interpolation")), "base stage")
    refused(lambda: long(context_frames=16), "between 1 and 15")
