"""The VAEs: equal to the official ones, exact in slices, blended in tiles, clear about wrong files."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from support.networks import small_vae
from support.reference import relative_error

from lavie.errors import Cancelled, LavieError, UsageError
from lavie.models.latents import decode_latents, decode_slices, encode_video, tile_starts, to_uint8
from lavie.models.vae import OLD_ATTENTION, load_vae, vae_config, with_new_attention_names

FIXTURES = ("vae_tiny_sd14", "vae_tiny_vsr")
RELEASED = {
    "sd14_vae": {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "scaling_factor": 0.18215},
    "vsr_vae": {"block_out_channels": [128, 256, 512], "layers_per_block": 2, "scaling_factor": 0.08333},
}


def build_tiny(**changes):
    torch.manual_seed(0)
    return small_vae(8, 16, 16, **{"scaling_factor": 0.08333, **changes}).eval()


@pytest.fixture
def vae():
    return build_tiny()


def as_video(images):
    return images.transpose(0, 1)[None]


@pytest.mark.parametrize("name", FIXTURES)
def test_encoding_equals_the_official_code(golden, name):
    reference = golden(name)
    vae = load_vae(reference.weights, reference.config)
    video, noise = as_video(reference["in/pixels"]), as_video(reference["in/sample_noise"])
    scale = reference.config["scaling_factor"]
    posterior = vae.encode(reference["in/pixels"]).latent_dist
    assert relative_error(posterior.logvar, reference["out/logvar"]) < 1e-4
    assert relative_error(encode_video(vae, video), as_video(reference["out/mean"]) * scale) < 1e-4
    sample = encode_video(vae, video, noise=noise, frames_per_batch=1)
    assert relative_error(sample, as_video(reference["out/sample"]) * scale) < 1e-4


@pytest.mark.parametrize("name", FIXTURES)
def test_decoding_equals_the_official_code(golden, name):
    reference = golden(name)
    vae = load_vae(reference.weights, reference.config)
    latents = as_video(reference["in/latent"]) * reference.config["scaling_factor"]
    assert relative_error(decode_latents(vae, latents), as_video(reference["out/decoded"])) < 1e-4


@pytest.mark.parametrize(("name", "expected"), RELEASED.items())
def test_the_released_vaes_have_exactly_our_names_shapes_and_config(key_manifest, name, expected):
    tensors = {key: torch.empty(shape, device="meta") for key, shape in key_manifest(name).items()}
    tensors = with_new_attention_names(tensors)
    config = vae_config(tensors)
    assert config == config | expected
    with torch.device("meta"):
        ours = AutoencoderKL.from_config(config).state_dict()
    assert {key: tensor.shape for key, tensor in ours.items()} == {key: tensor.shape for key, tensor in tensors.items()}


@pytest.mark.parametrize("convolutions", [False, True])
def test_old_attention_names_load_as_linear_layers_and_as_convolutions(vae, convolutions):
    new_to_old = {f".{new}.": f".{old}." for old, new in OLD_ATTENTION.items()}
    old = {}
    for name, tensor in vae.state_dict().items():
        layer = next((part for part in new_to_old if part in name), None)
        is_matrix = layer is not None and tensor.dim() == 2
        old[name.replace(layer, new_to_old[layer]) if layer else name] = (
            tensor[:, :, None, None] if is_matrix and convolutions else tensor
        )
    loaded = load_vae(old, vae.config)
    latents = torch.randn(1, 4, 1, 4, 4)
    assert torch.allclose(decode_latents(loaded, latents), decode_latents(vae, latents), atol=1e-5)


@pytest.mark.parametrize("safe", [True, False])
def test_a_diffusers_folder_gives_the_same_video(vae, tmp_path, safe):
    vae.save_pretrained(tmp_path, safe_serialization=safe)
    latents = torch.randn(1, 4, 2, 4, 4)
    loaded = load_vae(tmp_path)
    assert loaded.config.scaling_factor == vae.config.scaling_factor
    assert torch.allclose(decode_latents(loaded, latents), decode_latents(vae, latents), atol=1e-5)


def test_missing_misshapen_and_foreign_tensors_are_named(vae, tmp_path):
    weights = dict(vae.state_dict())
    weights.pop("decoder.conv_out.bias")
    weights["quant_conv.bias"] = torch.zeros(5)
    weights["stray"] = torch.zeros(1)
    with pytest.raises(LavieError) as refusal:
        load_vae(weights, vae.config)
    assert "1 missing (decoder.conv_out.bias)" in str(refusal.value)
    assert "1 unexpected (stray)" in str(refusal.value)
    assert "quant_conv.bias [5] instead of [8]" in str(refusal.value)


def test_weights_that_are_no_vae_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(LavieError, match="no VAE"):
        load_vae({"conv_in.weight": torch.zeros(1)})
    with pytest.raises(LavieError, match="There is no VAE in"):
        load_vae(tmp_path)
    save_file({"x": torch.zeros(1)}, tmp_path / "diffusion_pytorch_model.safetensors")
    with pytest.raises(LavieError, match=r"There is no config\.json in"):
        load_vae(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(LavieError, match="cannot be read"):
        load_vae(tmp_path)


def test_slices_of_frames_give_the_same_video_and_latents(vae):
    latents = torch.randn(2, 4, 5, 4, 6)
    whole = decode_latents(vae, latents, frames_per_batch=5)
    assert whole.shape == (2, 3, 5, 16, 24)
    encoded = encode_video(vae, whole, frames_per_batch=5)
    assert encoded.shape == latents.shape
    for count in (1, 3):
        assert torch.allclose(decode_latents(vae, latents, frames_per_batch=count), whole, atol=1e-5)
        assert torch.allclose(encode_video(vae, whole, frames_per_batch=count), encoded, atol=1e-5)


def test_the_same_seed_gives_the_same_latents_whatever_the_slices(vae):
    video = torch.rand(1, 3, 5, 16, 16) * 2 - 1
    one, other, third = (
        encode_video(vae, video, torch.Generator().manual_seed(seed), frames_per_batch=count)
        for seed, count in ((3, 5), (3, 2), (4, 5))
    )
    assert torch.allclose(one, other, atol=1e-5)
    assert not torch.allclose(one, third, atol=1e-2)


def test_the_noise_is_drawn_as_the_official_code_draws_it(vae):
    video = torch.rand(1, 3, 3, 16, 16) * 2 - 1
    frames = video[0].transpose(0, 1)
    official = vae.encode(frames).latent_dist.sample(torch.Generator().manual_seed(7)) * 0.08333
    ours = encode_video(vae, video, torch.Generator().manual_seed(7))
    assert torch.allclose(ours, as_video(official), atol=1e-5)


def test_a_tile_that_covers_all_changes_nothing(vae):
    latents = torch.randn(1, 4, 2, 8, 10)
    assert torch.equal(decode_latents(vae, latents, tile=10), decode_latents(vae, latents))


def test_tiles_blend_without_seams():
    vae = build_tiny(mid_block_add_attention=False)
    for module in list(vae.decoder.modules()):  # norms see the whole tile; without them, only its edges differ
        for name, child in module.named_children():
            if isinstance(child, torch.nn.GroupNorm):
                setattr(module, name, torch.nn.Identity())
    latents = torch.randn(1, 4, 1, 72, 40) * 0.08333
    whole, tiled = decode_latents(vae, latents), decode_latents(vae, latents, tile=32)
    assert relative_error(tiled, whole) < 0.05
    steps = [video.diff(dim=-2).abs().mean(dim=(0, 1, 2, 4)) for video in (tiled, whole)]
    borders = [edge * 4 - 1 for start in tile_starts(72, 32) for edge in (start, start + 32) if 0 < edge < 72]
    assert (steps[0][borders] / steps[1][borders]).max() < 1.1


@pytest.mark.parametrize(("size", "tile"), [(40, 16), (17, 16), (33, 8), (9, 8), (100, 30)])
def test_tiles_cover_the_image_and_overlap(size, tile):
    starts = tile_starts(size, tile)
    assert starts[0] == 0
    assert starts[-1] == size - tile
    assert all(0 < b - a <= math.ceil(tile * 0.75) for a, b in pairwise(starts))


def test_a_tile_too_small_to_blend_is_refused(vae):
    with pytest.raises(UsageError, match="too small"):
        decode_latents(vae, torch.zeros(1, 4, 1, 8, 8), tile=2)


def test_progress_is_told_per_slice_and_can_stop_the_decoding(vae):
    told = []
    decode_latents(vae, torch.zeros(1, 4, 5, 2, 2), 2, callback=lambda *count: told.append(count))
    assert told == [(2, 5), (4, 5), (5, 5)]

    def stop(done, total):
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        decode_latents(vae, torch.zeros(1, 4, 5, 2, 2), 2, callback=stop)


def test_a_float16_vae_that_overflows_is_decoded_in_float32():
    vae = build_tiny()
    vae.decoder.conv_in.weight.data *= 3e6  # finite in float16, its output is not
    vae.decoder.conv_in.weight.data.clamp_(-6e4, 6e4)
    vae = vae.half()
    latents = torch.randn(1, 4, 3, 4, 4)
    expected = decode_latents(load_vae(vae.state_dict(), vae.config), latents)
    video = decode_latents(vae, latents, frames_per_batch=1)
    assert torch.allclose(video, expected, atol=1e-4)
    assert vae.dtype == torch.float16


def test_float16_is_near_float32(vae):
    latents = torch.randn(1, 4, 1, 8, 8) * 0.08333
    expected = decode_latents(vae, latents)
    assert relative_error(decode_latents(vae.half(), latents), expected) < 0.01


def test_nan_names_the_stage_that_made_it(vae):
    with pytest.raises(LavieError, match="denoising before the VAE"):
        decode_latents(vae, torch.full((1, 4, 1, 2, 2), math.nan))
    vae.decoder.conv_out.bias.data[0] = math.nan
    vae.encoder.conv_in.bias.data[0] = math.nan
    with pytest.raises(LavieError, match="VAE decode produced NaN"):
        next(decode_slices(vae, torch.zeros(1, 4, 1, 2, 2)))
    with pytest.raises(LavieError, match="VAE encode produced NaN"):
        encode_video(vae, torch.zeros(1, 3, 1, 8, 8))


@pytest.mark.parametrize(("rounding", "name"), [("nearest", "base_and_interpolation"), ("truncate", "vsr")])
def test_uint8_conversion_equals_the_official_one(golden, rounding, name):
    units = golden("units")
    assert torch.equal(to_uint8(units["in/uint8.x"], rounding), units[f"out/uint8.{name}"])
