"""When memory runs out, a node goes on in smaller parts and says so; long clips never need more than a window."""

import gc
import weakref

import pytest
import torch
from support.graph import clip_of, decode, extend, interpolate, network, part, run, sample, stage, upscale

OutOfMemory = torch.cuda.OutOfMemoryError
WORDS = ("in turn", "in slices", "Windows of 2", "Tiles of 36")


@pytest.fixture
def seen(monkeypatch):
    """Makes the UNet of a stage run out of memory beyond a limit; returns the shapes that it was called with."""

    def limit(name, batch=99, frames=9999, side=9999):
        unet, shapes, last = network(name), [], []
        forward = unet.forward

        def limited(x, *args, **kwargs):
            if last:
                gc.collect()
            assert all(tensor() is None for tensor in last), "tensors of a failed attempt are still held"
            last.clear()
            shapes.append(tuple(x.shape))
            if len(x) > batch or x.shape[2] > frames or max(x.shape[3:]) > side:
                last.append(weakref.ref(x))
                raise OutOfMemory("CUDA out of memory. Tried to allocate 20.00 GiB.")
            return forward(x, *args, **kwargs)

        monkeypatch.setattr(unet, "forward", limited)
        return shapes

    return limit


def hooks(name):
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in network(name).modules())


def notes(caplog):
    """What the log says."""
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_the_base_sampler_computes_the_guidance_in_turn(seen, caplog):
    whole = sample()
    shapes = seen("base", batch=1)
    split = sample()
    torch.testing.assert_close(split, whole, atol=2e-3, rtol=1e-3)
    assert [shape[0] for shape in shapes] == [2, 1, 1, 1, 1]
    assert len(notes(caplog)) == 1
    assert "out of memory" in notes(caplog)[0]
    assert "the result stays the same" in notes(caplog)[0]
    assert hooks("base") == 0


def test_the_base_sampler_goes_on_in_slices(monkeypatch, caplog):
    whole = sample()
    unet, sliced = network("base"), []
    forward = unet.forward

    def limited(*args, **kwargs):
        sliced.append(unet.slice_elements is not None)
        if not sliced[-1]:
            raise OutOfMemory("CUDA out of memory.")
        return forward(*args, **kwargs)

    monkeypatch.setattr(unet, "forward", limited)
    torch.testing.assert_close(sample(), whole, atol=2e-3, rtol=1e-3)
    assert sliced[:3] == [False, False, True]
    assert all("the result stays the same" in note for note in notes(caplog))
    assert unet.slice_elements is None


def test_the_extender_computes_the_guidance_in_turn(seen, caplog):
    clip = sample()
    whole = extend(clip)
    seen("base", batch=1)
    torch.testing.assert_close(extend(clip), whole, atol=2e-3, rtol=1e-3)
    assert "the result stays the same" in notes(caplog)[0]


def test_the_interpolator_goes_on_in_smaller_windows(seen, caplog):
    shapes = seen("interpolation", batch=1, frames=17)
    images = interpolate(clip_of(8, 16, 16), guidance_scale=2.0)
    assert images.shape == (29, 16, 16, 3)
    assert ["Windows of" in note for note in notes(caplog)] == [False, False, True]
    assert [shape[:3] for shape in shapes[:3]] == [(2, 8, 29), (1, 8, 29), (1, 8, 29)]
    assert {shape[:3] for shape in shapes[3:]} == {(1, 8, 13)}
    assert hooks("interpolation") == 0


def test_the_upscaler_goes_on_in_smaller_windows_and_then_tiles(seen, caplog):
    seen("upscaler", frames=2, side=40)
    images = upscale(clip_of(4, 32, 72), guidance_scale=2.0, window=4, overlap=1, steps=1)
    assert images.shape == (4, 128, 288, 3)
    assert [word in note for note, word in zip(notes(caplog), WORDS, strict=True)]
    assert all("changes the result" in note for note in notes(caplog)[2:])


def test_what_does_not_help_is_told_once_and_then_the_error(seen, caplog):
    for name, node in {
        "base": lambda: sample(),
        "interpolation": lambda: interpolate(clip_of(4, 16, 16)),
        "upscaler": lambda: upscale(clip_of(4, 64, 64)),
    }.items():
        caplog.clear()
        shapes = seen(name, batch=0)
        with pytest.raises(
            OutOfMemory, match=r"LaVie ran out of memory, even in its smallest steps\. (Lower|Make fewer) .*\.$"
        ):
            node()
        assert len(shapes) == len(notes(caplog)) + 1
        assert len(set(notes(caplog))) == len(notes(caplog))
        assert hooks(name) == 0


def test_another_error_is_not_taken_for_lack_of_memory(monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(network("base"), "forward", broken)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        sample()
    assert notes(caplog) == []
    assert hooks("base") == 0


def test_the_decoder_goes_on_in_tiles(monkeypatch, caplog):
    vae = stage("base").vae.first_stage_model
    whole = vae.decode

    def limited(latents, *args, **kwargs):
        if max(latents.shape[2:]) > 32:
            raise OutOfMemory("CUDA out of memory.")
        return whole(latents, *args, **kwargs)

    latents = sample(num_frames=1, height=64, width=288, steps=1)
    expected = decode(latents)
    monkeypatch.setattr(vae, "decode", limited)
    images = decode(latents)
    assert (images - expected).abs().mean() < 0.02
    assert len(notes(caplog)) == 1
    assert "tiles" in notes(caplog)[0]


def test_a_vae_of_another_loader_that_overflows_goes_on_in_float32(caplog):
    class Overflowing:
        """The interface of ComfyUI's VAE, as far as LaVie calls it."""

        vae_dtype = torch.float16
        first_stage_model = torch.nn.Linear(1, 1).half()

        def decode(self, frame):
            dtype = self.first_stage_model.weight.dtype
            value = float("nan") if dtype == torch.float16 else 0.5
            return torch.full((len(frame), 8 * frame.shape[2], 8 * frame.shape[3], 3), value)

    vae = Overflowing()
    images = run("LaVieVAEDecode", samples={"samples": torch.zeros(1, 4, 3, 2, 2)}, vae=vae)[0]
    assert torch.equal(images, torch.full((3, 16, 16, 3), 0.5))
    assert len([note for note in notes(caplog) if "float32" in note]) == 1
    assert vae.vae_dtype == torch.float16
    assert vae.first_stage_model.weight.dtype == torch.float16


@pytest.mark.parametrize(("node", "name", "frames", "most"), [
    (interpolate, "interpolation", 4 * 300 - 3, 4 * 16 - 3),
    (upscale, "upscaler", 300, 16),
])  # fmt: skip
def test_a_clip_of_300_frames_goes_through_in_windows(seen, node, name, frames, most):
    shapes = seen(name)
    assert len(node(clip_of(300, 16, 16), steps=1)) == frames
    assert max(shape[2] for shape in shapes) == most
    assert max(shape[0] for shape in shapes) == 1


def test_the_estimate_of_memory_grows_with_what_one_evaluation_sees(monkeypatch):
    asked = []
    monkeypatch.setattr(
        part("nodes.host"), "load", lambda _, memory, others: asked.append(memory) or torch.device("cpu")
    )
    for given in ({"height": 16}, {"height": 32}, {"num_frames": 8}):
        sample(**{"width": 16, "num_frames": 4, "height": 16, "steps": 1, **given})
    assert asked[0] < asked[1] == asked[2]
