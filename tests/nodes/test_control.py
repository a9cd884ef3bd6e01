"""The host's ControlNets over the frames of a video: what they are shown, and where what they add goes."""

from types import SimpleNamespace

import pytest
import torch
from support.graph import clip_of, extend, network, part, refused, run, sample, stage

control = part("nodes.control")
Residuals = part("lavie.models.residuals").Residuals
levels_of = part("lavie.sampling.control")
FRAMES, SIDES = 4, (4, 6)


class Recorder:
    """A control object as the host's are: made for images, and it adds the mean of each image's hint to the middle."""

    def __init__(self, hint, previous=None, width=96, between=None):
        self.cond_hint_original, self.previous_controlnet = hint, previous
        self.timestep_range = between
        self.cond_hint = self.model_sampling_current = None
        self.asked, self.states = [], []
        widths = part("lavie.models.unet").skip_channels(network("base").config)
        zero_convs = [[torch.nn.Conv2d(1, own, 1)] for own in widths]
        self.control_model = SimpleNamespace(zero_convs=zero_convs, label_emb=None, named_modules=lambda: ())
        self.width = width

    def pre_run(self, model, percent_to_timestep):
        self.states.append("pre_run")
        self.model_sampling_current = model.model_sampling

    def cleanup(self):
        self.states.append("cleanup")

    def get_models(self):
        return []

    def get_control(self, x, t, cond, batched_number, options):
        assert self.previous_controlnet is None
        if self.timestep_range and not self.timestep_range[1] <= t[0] <= self.timestep_range[0]:
            return None
        self.asked.append(SimpleNamespace(x=x, t=t, text=cond["c_crossattn"], halves=batched_number, options=options))
        if self.cond_hint is None:
            self.cond_hint = self.cond_hint_original
        hint = self.cond_hint.mean((1, 2, 3))
        hint = hint.expand(len(x)) if len(hint) == 1 else hint.repeat(len(x) // len(hint))
        middle = hint[:, None, None, None].expand(-1, self.width, 1, 1)
        return {"input": [], "middle": [middle], "output": [None] * 6}


def hint(frames=FRAMES):
    return torch.arange(1.0, frames + 1)[:, None, None, None].expand(-1, 3, 32, 48)


def asked(frames=FRAMES, clips=2, **changed):
    x = torch.randn(clips, 4, frames, *SIDES, generator=torch.Generator().manual_seed(1))
    text = torch.randn(clips, 7, 5, generator=torch.Generator().manual_seed(2))
    given = {"x": x, "levels": torch.full((clips, frames), 2.0), "cond": {"c_crossattn": text}, "halves": clips}
    return control.Asked(**{**given, "options": {}, "frames": torch.arange(frames), **changed})


def middles(residuals):
    return residuals.middle[:, 0, 0, 0].tolist()


def test_a_control_sees_every_frame_as_an_image_with_its_own_image_of_the_hint_and_its_text():
    recorder, ask = Recorder(hint()), asked()
    assert middles(control.OverFrames(recorder).asked(ask)) == [1, 2, 3, 4] * 2
    (seen,) = recorder.asked
    assert torch.equal(seen.x[5], ask.x[1, :, 1])
    assert torch.equal(seen.text[5], ask.cond["c_crossattn"][1])
    assert seen.halves == 2
    assert len(recorder.cond_hint_original) == FRAMES


def test_one_image_holds_for_all_frames():
    assert middles(control.OverFrames(Recorder(hint(1))).asked(asked())) == [1] * 2 * FRAMES


def test_each_frame_has_its_own_text_where_there_are_as_many():
    text = torch.randn(2, FRAMES, 7, 5)
    recorder = Recorder(hint())
    control.OverFrames(recorder).asked(asked(cond={"c_crossattn": text}))
    assert torch.equal(recorder.asked[0].text, text.flatten(0, 1))


def test_windows_see_their_own_frames_of_the_hint():
    over = control.OverFrames(Recorder(hint(8)))
    window = SimpleNamespace(index_list=[4, 5, 6, 7])
    x, cond = asked().x, asked().cond
    assert middles(over.get_control(x, torch.ones(2), cond, 2, {"context_window": window})) == [5, 6, 7, 8] * 2
    window.index_list = [0, 1, 2, 3]
    assert middles(over.get_control(x, torch.ones(2), cond, 2, {"context_window": window})) == [1, 2, 3, 4] * 2


def test_controls_in_a_row_add_up_and_are_asked_one_by_one():
    first = Recorder(hint())
    second = Recorder(hint(1), previous=first)
    assert middles(control.OverFrames(second).asked(asked())) == [2, 3, 4, 5] * 2
    assert second.previous_controlnet is first
    assert len(first.asked) == len(second.asked) == 1


def test_frames_with_noise_levels_of_their_own_are_controlled_only_within_start_and_end():
    recorder = Recorder(hint(), between=(3.0, 1.5))
    ask = asked(levels=torch.tensor([[1.0, 2.0, 3.0, 4.0]] * 2))
    assert middles(control.OverFrames(recorder).asked(ask)) == [0, 2, 3, 0] * 2
    assert recorder.asked[0].t.tolist() == [2, 3] * 2


def test_a_control_is_told_the_timestep_at_which_stable_diffusion_is_as_noisy():
    own = SimpleNamespace(timestep=lambda sigma: "own", calculate_input="own too")
    sigmas = levels_of.noise_levels(torch.tensor([250.0, 400, 500, 600, 700, 727, 999]))
    told = control.Sampling(own, matched=True).timestep(sigmas)
    assert told.tolist() == [341, 568, 708, 840, 966, 999, 999]
    assert control.Sampling(own, matched=False).timestep(sigmas) == "own"
    assert control.Sampling(own, matched=True).calculate_input == "own too"


def test_stable_diffusion_timesteps_of_its_own_noise_levels_are_these_timesteps():
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alpha = torch.cumprod(1 - betas, dim=0)
    told = levels_of.stable_diffusion_timesteps(((1 - alpha) / alpha).sqrt())
    assert torch.equal(told, torch.arange(1000))


def conditioning(half="positive", **options):
    (states, known), *_ = getattr(stage("base"), half)
    return [[states, {**known, **options}]]


@pytest.fixture
def model(monkeypatch):
    """The bundled base's MODEL with what a host's has for controls."""
    sampling = SimpleNamespace(
        percent_to_sigma=lambda percent: 1 - percent, timestep=lambda sigma: sigma, calculate_input=lambda s, x: x
    )
    monkeypatch.setattr(stage("base").model.model, "model_sampling", sampling, raising=False)
    return stage("base").model


def test_lavies_sampler_asks_the_controls_of_both_halves_at_once_and_cleans_up(model):
    recorder = Recorder(hint())
    wires = {half: conditioning(half, control=recorder) for half in ("positive", "negative")}
    made = sample(model=model, **wires)
    assert not torch.allclose(made, sample())
    assert [seen.halves for seen in recorder.asked] == [2, 2]
    assert recorder.asked[0].options["cond_or_uncond"] == [1, 0]
    assert recorder.states == ["pre_run", "cleanup"]
    assert recorder.model_sampling_current is not None


def test_a_control_of_one_half_leaves_the_other_alone(model):
    recorder = Recorder(hint())
    sample(model=model, positive=conditioning(control=recorder))
    assert all(len(seen.x) == FRAMES and seen.options["cond_or_uncond"] == [0] for seen in recorder.asked)


def test_the_plain_form_of_apply_controlnet_acts_on_both_halves(model):
    recorder = Recorder(hint())
    sample(model=model, positive=conditioning(control=recorder, control_apply_to_uncond=True))
    assert [seen.halves for seen in recorder.asked] == [2, 2]


def test_controls_see_images_as_noisy_as_the_network_does(model):
    recorder, seen = Recorder(hint()), []
    hook = network("base").register_forward_pre_hook(
        lambda _, args, more: seen.append((args[0], args[1])), with_kwargs=True
    )
    sample(model=model, positive=conditioning(control=recorder))
    hook.remove()
    (latents, timestep), asked_first = seen[0], recorder.asked[0]
    sigma = levels_of.noise_levels(timestep)
    assert torch.allclose(asked_first.t, sigma.expand(FRAMES))
    noisy = latents[1:].transpose(1, 2).flatten(0, 1)
    assert torch.allclose(asked_first.x / (1 + sigma**2).sqrt(), noisy, atol=1e-5)


def test_a_control_that_adds_nothing_changes_no_bit(model):
    wires = {half: conditioning(half, control=Recorder(hint(1) * 0)) for half in ("positive", "negative")}
    assert torch.equal(sample(model=model, **wires), sample())


def test_hints_of_other_lengths_are_refused_or_stretched(model):
    recorder = Recorder(hint(2))
    wired = {"model": model, "positive": conditioning(control=recorder)}
    refused(lambda: sample(**wired), "control video has 2 frames, the video 4")
    assert recorder.states == ["pre_run", "cleanup"]
    sample(**wired, control_frames="stretch")
    assert len(recorder.cond_hint) == FRAMES


@pytest.mark.parametrize("name", ["extension", "base"])
def test_image_to_video_follows_a_hint_of_all_its_frames_with_the_noisy_latents_alone(name, model, monkeypatch):
    of = stage(name)
    monkeypatch.setattr(of.model.model, "model_sampling", model.model.model_sampling, raising=False)
    recorder, images = Recorder(hint(6)), clip_of(2, 32, 48)
    given = {"model": of.model, "vae": of.vae, "images": images, "num_frames": 4, "context_frames": 1, "steps": 1}
    wires = {"positive": conditioning(control=recorder), "negative": of.negative}
    made = run("LaVieImageToVideo", **given, **wires)[0]
    assert len(made) == 6
    assert recorder.asked[0].x.shape[1] == 4
    assert recorder.cond_hint.mean((1, 2, 3)).tolist()[:5] == [2, 3, 4, 5, 6]
    refused(
        lambda: run("LaVieImageToVideo", **given, **{**wires, "positive": conditioning(control=Recorder(hint(5)))}),
        "has 5",
    )


def test_the_extender_and_the_windows_of_long_videos_see_their_own_frames(model):
    recorder = Recorder(hint(8))
    extend(sample(), model=model, positive=conditioning(control=recorder))
    assert recorder.cond_hint.mean((1, 2, 3)).tolist() == [3, 4, 5, 6, 7, 8]
    recorder, shown = Recorder(hint(20)), []
    recorder.get_control = lambda x, *rest: shown.append(recorder.cond_hint_original[:, 0, 0, 0].tolist())
    small = {"height": 32, "width": 48, "steps": 1, "num_frames": 20, "context_frames": 12}
    wires = {"model": model, "positive": conditioning(control=recorder), "negative": stage("base").negative}
    run("LaVieLongVideoSampler", **wires, **small, method="gen_l_video")
    assert shown == [list(range(1, 17)), list(range(5, 21))]


KINDS = {
    "another model": ({"control_model": None}, "another kind of model"),
    "Stable Diffusion XL": ({"label_emb": object()}, "Stable Diffusion XL"),
    "other widths": ({"widths": [320] * 6}, "widths 320; this MODEL has 64, 80, 96"),
    "no image": ({"cond_hint_original": torch.zeros(0, 3, 8, 8)}, "holds 0 frames"),
}


@pytest.mark.parametrize("name", KINDS)
def test_controls_of_other_kinds_are_refused_before_any_work(name):
    changed, message = KINDS[name]
    recorder = Recorder(hint())
    for key, value in changed.items():
        if key == "widths":
            recorder.control_model.zero_convs = [[torch.nn.Conv2d(1, width, 1)] for width in value]
        elif key == "label_emb":
            recorder.control_model.label_emb = value
        else:
            setattr(recorder, key, value)
    refused(lambda: sample(positive=conditioning(control=recorder)), message)
    assert recorder.asked == []


@pytest.mark.parametrize(
    ("kind", "message"),
    [("ControlLora", "Control-LoRA"), ("SparseControlNet", "SparseCtrl"), ("ReferenceAdvanced", "Ref")],
)
def test_controls_that_need_other_layers_are_refused_by_name(kind, message):
    foreign = type(kind, (Recorder,), {})(hint())
    refused(lambda: sample(positive=conditioning(control=foreign)), message)


def test_stages_that_follow_given_frames_refuse_controls():
    refuse_foreign = part("nodes.control_kinds").refuse_foreign
    refused(lambda: refuse_foreign(Recorder(hint()), network("base"), "upscaler"), "LaVie's upscaler stage follows")
