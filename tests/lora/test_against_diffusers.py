"""Against diffusers: random LoRA files that it applies to its own Stable Diffusion 1.x UNet change ours alike."""

import pytest
import torch

from lavie.lora import Lora, LoraStack
from lavie.training.inflate import base_from_image

pytest.importorskip("peft")
diffusers = pytest.importorskip("diffusers", "0.42")  # older ones read some of these files otherwise
loaders = pytest.importorskip("diffusers.loaders")

TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv1", "conv2")
STRENGTH = 0.7
ALPHA = (
    2.5  # of all layers: diffusers 0.42 does not find the alphas of attention layers in kohya's files if they differ
)


def image_unet():
    """Two levels, with every kind of layer that Stable Diffusion 1.x has."""
    torch.manual_seed(0)
    return diffusers.UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=48,
        attention_head_dim=1,
        norm_num_groups=16,
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )


def layers_of(unet):
    return {name: module for name, module in unet.named_modules() if name.endswith(TARGETS)}


def random_lora(unet, seed=1):
    """{layer: (down, up, alpha)}, of another rank for every layer."""
    generator, found = torch.Generator().manual_seed(seed), {}
    for index, (name, module) in enumerate(layers_of(unet).items()):
        rank, (out, inner, *kernel) = 1 + index % 7, module.weight.shape
        down = torch.randn(rank, inner, *kernel, generator=generator)
        up = torch.randn(out, rank, *[1] * len(kernel), generator=generator)
        found[name] = (down, up, ALPHA)
    return found


def as_kohya(lora):
    tensors = {}
    for name, (down, up, alpha) in lora.items():
        layer = f"lora_unet_{name.replace('.', '_')}"
        parts = {"lora_down.weight": down, "lora_up.weight": up, "alpha": torch.tensor(alpha)}
        tensors |= {f"{layer}.{part}": tensor for part, tensor in parts.items()}
    return tensors


def with_alpha_inside(lora):
    """down, up with the same product at strength alpha = rank."""
    return {name: (down * (alpha / len(down)), up) for name, (down, up, alpha) in lora.items()}


def as_diffusers(lora):
    pairs = with_alpha_inside(lora).items()
    return {f"unet.{name}.lora_{w}.weight": t for name, pair in pairs for w, t in zip("AB", pair, strict=True)}


def as_peft(lora):
    pairs = with_alpha_inside(lora).items()
    return {f"base_model.model.{n}.lora_{w}.weight": t for n, pair in pairs for w, t in zip("AB", pair, strict=True)}


def of_diffusers(file, unet):
    """{layer: what diffusers adds to its weight}."""
    mixin = loaders.StableDiffusionLoraLoaderMixin
    state, alphas = mixin.lora_state_dict(str(file), unet_config=unet.config)
    mixin.load_lora_into_unet(state, alphas, unet, adapter_name="test")
    unet.set_adapters("test", STRENGTH)
    before = {name: module.base_layer.weight.clone() for name, module in layers_of(unet).items()}
    unet.fuse_lora()
    return {name: module.base_layer.weight - before[name] for name, module in layers_of(unet).items()}


def of_ours(file, unet):
    video = base_from_image(unet.state_dict(), dict(unet.config))
    before = {name: tensor.clone() for name, tensor in video.state_dict().items()}
    (applied,) = LoraStack(video).set([Lora.read(file, STRENGTH)])
    assert not applied.left
    return {
        name.removesuffix(".weight"): tensor - before[name]
        for name, tensor in video.state_dict().items()
        if not torch.equal(tensor, before[name])
    }


@pytest.mark.parametrize("spelled", [as_kohya, as_diffusers, as_peft], ids=["kohya", "diffusers", "peft"])
def test_a_random_file_changes_the_shared_layers_as_diffusers_does(spelled, tmp_path):
    from safetensors.torch import save_file

    unet = image_unet()
    tensors = spelled(random_lora(unet))
    file = tmp_path / "x.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    ours = of_ours(file, unet)
    if spelled is as_peft:  # a model's folder of PEFT's, without the pipeline's component in its names
        file = tmp_path / "component.safetensors"
        save_file({name.replace("base_model.model.", "unet."): t.contiguous() for name, t in tensors.items()}, file)
    theirs = of_diffusers(file, unet)
    assert ours.keys() == theirs.keys()
    for name, change in theirs.items():
        torch.testing.assert_close(ours[name], change, atol=2e-5, rtol=1e-4, msg=lambda text, name=name: name + text)
