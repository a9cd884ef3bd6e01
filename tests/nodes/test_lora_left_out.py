"""Layers of a LoRA that have no effect here are counted in a sentence on the node."""

import importlib

from support.pack import NAME, load_pack

load_pack()
left_out = importlib.import_module(f"{NAME}.nodes.lora").left_out


def test_a_lora_that_fits_whole_needs_no_sentence():
    assert left_out("cat.safetensors", 192, [], with_clip=True) == ""


def test_layers_without_a_place_are_counted_and_the_first_three_named():
    layers = [f"lora_unet_{number}" for number in range(5)]
    assert left_out("cat.safetensors", 187, layers, with_clip=True) == (
        "cat.safetensors: 187 layers act. Left out, as this model has no place for them: 5 (lora_unet_0, lora_unet_1, "
        "lora_unet_2, …)."
    )


def test_layers_of_the_text_encoder_ask_for_the_clip():
    text = ["lora_te_text_model_encoder_layers_0_mlp_fc1"]
    assert left_out("cat.safetensors", 192, text, with_clip=False) == (
        "cat.safetensors: 192 layers act. For the text encoder: 1; connect clip to use them."
    )
    assert "no place for them: 1 (" in left_out("cat.safetensors", 192, text, with_clip=True)
