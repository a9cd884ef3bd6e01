"""ControlNets and T2I-Adapters from every usual file add to LaVie's network what they add to Stable Diffusion's."""

import pytest
import torch
from safetensors.torch import save_file
from support import control as small
from support.control import FRAMES, WIDTHS

from lavie.control.networks import read_network
from lavie.errors import LavieError
from lavie.models import UNetConfig

CONFIG = small.video_unet().config
T = torch.tensor([500])


def residuals_of_diffusers(network):
    latents, text, hint = small.inputs()
    images, hints = latents[0].transpose(0, 1), hint.permute(0, 3, 1, 2).float() / 255
    return network(images, T, text.expand(FRAMES, -1, -1), hints, return_dict=False)


def test_the_residuals_of_a_control_net_are_those_of_diffusers(tmp_path):
    network = read_network(small.saved(tmp_path), CONFIG)
    latents, text, hint = small.inputs()
    images, hints = latents[0].transpose(0, 1), hint.permute(0, 3, 1, 2).float() / 255
    ours = network(images, T.expand(FRAMES), text.expand(FRAMES, -1, -1), hints)
    skips, middle = residuals_of_diffusers(small.control_net())
    assert len(ours.skips) == len(skips) == 12
    for mine, theirs in zip((*ours.skips, ours.middle), (*skips, middle), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["control net", "full_adapter", "light_adapter"])
def test_one_frame_is_predicted_as_by_diffusers(tmp_path, kind):
    latents, text, hint = (each[:, :, :1] if each.ndim == 5 else each for each in small.inputs())
    hints = hint[:1].permute(0, 3, 1, 2).float() / 255
    if kind == "control net":
        skips, middle = small.control_net()(latents[:, :, 0], T, text, hints, return_dict=False)
        added = {"down_block_additional_residuals": skips, "mid_block_additional_residual": middle}
    else:
        added = {"down_intrablock_additional_residuals": small.adapter(kind)(hints)}
    with torch.no_grad():
        theirs = small.image_unet()(latents[:, :, 0], T, text, **added).sample
    network = read_network(small.saved(tmp_path, None if kind == "control net" else small.adapter(kind)), CONFIG)
    control = network(latents[:, :, 0], T, text, hints)
    ours = small.video_unet()(latents, T, text, control=control)[:, :, 0]
    plain = small.video_unet()(latents, T, text)[:, :, 0]
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert (ours - plain).abs().mean() > 0.01


def test_files_of_its_authors_and_half_precision_give_the_same_network(tmp_path):
    of_diffusers = small.control_net().state_dict()
    torch.save({"state_dict": {k: v.half() for k, v in small.compvis(of_diffusers).items()}}, tmp_path / "net.pth")
    network = read_network(tmp_path / "net.pth", CONFIG)
    for name, tensor in network.model.state_dict().items():
        torch.testing.assert_close(tensor, of_diffusers[name].half().float())


def test_a_folder_of_diffusers_is_read(tmp_path):
    small.control_net().save_pretrained(tmp_path / "net")
    network = read_network(tmp_path / "net", CONFIG)
    assert torch.equal(network.model.conv_in.weight, small.control_net().conv_in.weight)


def test_adapters_of_their_authors_have_other_names(tmp_path):
    renamed = {}
    for name, tensor in small.adapter().state_dict().items():
        parts = name.split(".")
        if parts[1] == "body":
            level, inner = int(parts[2]), parts[3:]
            number = 2 * level + (int(inner[1]) if inner[0] == "resnets" else 0)
            parts = ["", "body", str(number), *(inner[2:] if inner[0] == "resnets" else inner)]
        renamed[".".join(parts[1:])] = tensor
    save_file(renamed, tmp_path / "t2i.safetensors")
    network = read_network(tmp_path / "t2i.safetensors", CONFIG)
    hint = small.inputs()[2].permute(0, 3, 1, 2).float() / 255
    features = small.adapter()(hint)
    ours = network(*([None] * 3), hint).inputs
    assert [part is None for part in ours] == [True, True, False] * 4
    for mine, theirs in zip(ours[2::3], features, strict=True):
        assert torch.equal(mine, theirs)


def test_the_shuffle_control_net_adds_averages(tmp_path):
    network = read_network(small.saved(tmp_path, name="control_v11e_sd15_shuffle.safetensors"), CONFIG)
    latents, text, hint = small.inputs()
    made = network(latents[0].transpose(0, 1), T, text.expand(FRAMES, -1, -1), hint.permute(0, 3, 1, 2) / 255)
    assert {tuple(part.shape[2:]) for part in (*made.skips, made.middle)} == {(1, 1)}
    assert small.video_unet()(latents, T, text, control=made).isfinite().all()


def broken(change):
    """A file that is changed so."""

    def write(folder):
        tensors = dict(small.control_net().state_dict())
        save_file(change(tensors), folder / "net.safetensors")
        return folder / "net.safetensors"

    return write


def truncated(folder):
    path = small.saved(folder)
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def nan(tensors):
    return {**tensors, "conv_in.bias": tensors["conv_in.bias"] * float("nan")}


def of_sdxl(tensors):
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    return {**{k: v for k, v in tensors.items() if "attn2.to_k" not in k}, name: torch.zeros(32, 2048)}


BAD = {
    "truncated": (truncated, "truncated or damaged"),
    "NaN": (broken(nan), "invalid numbers"),
    "SDXL": (broken(of_sdxl), "Stable Diffusion XL"),
    "fewer layers": (
        broken(lambda t: {k: v for k, v in t.items() if not k.startswith("controlnet_down_blocks.11")}),
        "another kind of model",
    ),
    "a missing tensor": (broken(lambda t: {k: v for k, v in t.items() if k != "conv_in.bias"}), "1 missing"),
    "a LoRA": (broken(lambda t: {"lora_unet_conv_in.lora_down.weight": t["conv_in.weight"]}), "seems to be"),
    "a Control-LoRA": (broken(lambda t: {"lora_controlnet": t["conv_in.bias"]}), "Control-LoRA"),
    "nothing there": (lambda folder: folder / "none.safetensors", "There is no checkpoint"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_control_for_this_model_is_refused_in_a_sentence(tmp_path, name):
    write, message = BAD[name]
    with pytest.raises(LavieError, match=message) as refusal:
        read_network(write(tmp_path), CONFIG)
    assert str(refusal.value).endswith(".")


def test_the_widths_of_another_model_are_named(tmp_path):
    own = {"block_out_channels": [96] * 4, "cross_attention_dim": small.TEXT, "attention_head_dim": 1}
    other = UNetConfig.from_dict({**small.OFFICIAL, **own})
    with pytest.raises(LavieError, match=f"widths {WIDTHS[0]}, {WIDTHS[1]}; this model has 96"):
        read_network(small.saved(tmp_path), other)
