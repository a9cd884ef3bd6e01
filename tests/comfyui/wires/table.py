"""What an artist can wire into LaVie, and what happens: the data of docs/wires.md and of test_wires.py."""

from __future__ import annotations

from typing import Any

from on_model import MODEL
from on_text import CONDITIONING
from rows import ACTS, BOTH, REFUSED, SAME, WORKS, Row, Section, Step, chain, on_text

CLIP = Section(
    "CLIP",
    "clip",
    (
        on_text("CLIPSetLastLayer", ACTS, ACTS, clip="$clip", stop_at_clip_layer=-2),
        on_text("CLIPMergeSimple", ACTS, ACTS, clip1="$clip", clip2="$other_clip", ratio=0.2),
        on_text("CLIPMergeAdd", ACTS, ACTS, clip1="$clip", clip2="$other_clip"),
        on_text("CLIPMergeSubtract", ACTS, ACTS, clip1="$clip", clip2="$other_clip", multiplier=0.2),
        on_text("CLIPAttentionMultiply", ACTS, ACTS, clip="$clip", q=1.5),
    ),
)

LATENT = Section(
    "LATENT",
    "latent",
    (
        on_text("SetLatentNoiseMask", ACTS, ACTS, "repaints a part", samples="$latent", mask="$mask"),
        on_text("LatentFlip", ACTS, ACTS, samples="$latent"),
        on_text("LatentUpscale", ACTS, ACTS, samples="$latent", width=192, height=128),
        on_text("LatentUpscaleBy", ACTS, ACTS, samples="$latent", scale_by=2.0),
        on_text("LatentRotate", ACTS, ACTS, samples="$latent", rotation="180 degrees"),
        on_text("LatentCrop", ACTS, ACTS, samples="$latent", width=64, height=64, x=0, y=0),
        on_text("LatentBlend", ACTS, ACTS, samples1="$latent", samples2="$latent2", blend_factor=0.5),
        on_text("LatentAdd", ACTS, ACTS, samples1="$latent", samples2="$latent2"),
        on_text("LatentSubtract", ACTS, ACTS, samples1="$latent", samples2="$latent2"),
        on_text("LatentMultiply", ACTS, ACTS, samples="$latent", multiplier=0.8),
        on_text("LatentInterpolate", ACTS, ACTS, samples1="$latent", samples2="$latent2", ratio=0.5),
        on_text("LatentComposite", ACTS, ACTS, samples_to="$latent", samples_from="$latent2", x=0, y=0, feather=0),
        on_text("RepeatLatentBatch", ACTS, ACTS, "several videos at once", samples="$latent", amount=2),
        on_text("LatentBatch", ACTS, ACTS, "several videos at once", samples1="$latent", samples2="$latent2"),
        on_text("LatentFromBatch", SAME, SAME, "takes one of several videos", samples="$latent"),
        on_text("LatentCut", ACTS, ACTS, "with dim t: takes some of the frames", samples="$latent", dim="t", amount=3),
        on_text(
            "LatentConcat",
            ACTS,
            ACTS,
            "with dim t: one video after the other",
            samples1="$latent",
            samples2="$latent2",
            dim="t",
        ),
        on_text("VAEEncode", ACTS, ACTS, pixels="$images2", vae="$vae"),
        on_text(
            "EmptyLatentImage",
            REFUSED,
            ACTS,
            "a video of one frame; use LaVie Empty Latent Video",
            "Empty Latent",
            width=96,
            height=64,
        ),
    ),
)

CFG = {"model": "$model", **BOTH, "cfg": 3.0}
NOISE, STEPS = ("RandomNoise", {"noise_seed": 7}), ("BasicScheduler", {"model": "$model", "steps": 4})
EULER = ("KSamplerSelect", {"sampler_name": "euler"})


def guider(node: str, **inputs: str | float) -> Row:
    wires = {"noise": "@0", "sigmas": "@1", "sampler": "@2", "guider": "@3", "latent_image": "$empty"}
    steps = (NOISE, STEPS, EULER, (node, {"model": "$model", **inputs}), ("SamplerCustomAdvanced", wires))
    return Row(steps, "", WORKS, "with SamplerCustomAdvanced", shown=node)


SAMPLERS = Section(
    "Other samplers",
    "",
    (
        chain(
            ("KSamplerAdvanced", {**CFG, "steps": 4, "latent_image": "$empty", "end_at_step": 4}), ours="", core=WORKS
        ),
        chain(
            STEPS,
            EULER,
            ("SamplerCustom", {**CFG, "sigmas": "@0", "sampler": "@1", "latent_image": "$empty"}),
            ours="",
            core=WORKS,
        ),
        guider("CFGGuider", **BOTH, cfg=3.0),
        guider("BasicGuider", conditioning="$positive"),
        guider("DualCFGGuider", cond1="$positive", cond2="$positive", negative="$negative"),
        guider("PerpNegGuider", **BOTH, empty_conditioning="$negative"),
    ),
)

PICTURES = Section(
    "VAE, IMAGE, VIDEO",
    "",
    (
        on_text("VAEDecode", "", WORKS, samples="$latent", vae="$vae"),
        on_text("VAEDecodeTiled", "", WORKS, samples="$latent", vae="$vae"),
        on_text("VAEEncodeTiled", "", WORKS, pixels="$images", vae="$vae"),
        on_text("VAEEncodeForInpaint", "", WORKS, pixels="$images", vae="$vae", mask="$mask"),
        on_text("ImageScale", "", WORKS, image="$images", width=192, height=128),
        on_text("ImageBatch", "", WORKS, "one video after the other", image1="$images", image2="$images2"),
        on_text("ImageFromBatch", "", WORKS, "some of the frames", image="$images", batch_index=0, length=2),
        on_text("CreateVideo", "", WORKS, images="$images", fps=8.0),
        chain(
            ("CreateVideo", {"images": "$images", "fps": 8.0}),
            ("GetVideoComponents", {"video": "@0"}),
            ours="",
            core=WORKS,
        ),
    ),
)

KEPT = Section(
    "Kept in files",
    "model",
    (
        chain(
            ("ModelSave", {"model": "$other", "filename_prefix": "kept/merge"}),
            ("LaVieLoader", {"model": "lavie/merge_00001_.safetensors"}),
            ours=ACTS,
            core=ACTS,
            shown="ModelSave",
            note="and LaVie Loader loads the file",
        ),
        on_text(
            "CheckpointSave",
            REFUSED,
            REFUSED,
            "use Save Model",
            "Save Model",
            model="$model",
            clip="$clip",
            vae="$vae",
        ),
    ),
)

UNFIT = Section(
    "LoRAs that do not fit",
    "model",
    tuple(
        Row(
            ((node, {"model": "$model", "lora_name": file, **({"clip": "$clip"} if node == "LoraLoader" else {})}),),
            REFUSED,
            REFUSED,
            note,
            "A LoRA must be made for Stable Diffusion 1.x",
            shown=f"{node}: {note}",
        )
        for node in ("LoraLoader", "LoraLoaderModelOnly", "LaVieLoraLoader")
        for file, note in {"sd1.safetensors": "of other widths", "sdxl.safetensors": "of SDXL"}.items()
    ),
)

ADE, ACN, IPA = "ComfyUI-AnimateDiff-Evolved", "ComfyUI-Advanced-ControlNet", "ComfyUI_IPAdapter_plus"
VHS, VFI, DISTRIBUTED = "ComfyUI-VideoHelperSuite", "ComfyUI-Frame-Interpolation", "ComfyUI-Distributed"


def of_pack(pack: str, node: str, ours: str, core: str, *before: Step, note: str = "", **inputs: Any) -> Row:
    return Row((*before, (node, inputs)), ours, core, note, pack=pack)


PACKED_MODELS = Section(
    "MODEL, from other packs",
    "model",
    (
        of_pack(ADE, "ADE_UseEvolvedSampling", REFUSED, SAME, model="$model", note="without a motion model"),
        Row(
            (),
            REFUSED,
            REFUSED,
            pack=IPA,
            shown="IPAdapterAdvanced",
            made="ip_adapted",
            note="LaVie Image to Video starts from an image",
        ),
    ),
)
PACKED_TEXTS = Section(
    "CONDITIONING, from other packs",
    "positive",
    (
        of_pack(
            ACN,
            "ACN_AdvancedControlNetApply_v2",
            REFUSED,
            REFUSED,
            **BOTH,
            control_net="$control_net",
            image="$images",
            note="not supported yet",
        ),
    ),
)
PACKED_IMAGES = Section(
    "IMAGE, from other packs",
    "",
    (
        of_pack(VHS, "VHS_VideoCombine", "", WORKS, images="$images", frame_rate=8, format="image/gif"),
        of_pack(VHS, "VHS_SelectEveryNthImage", "", WORKS, images="$images"),
        of_pack(VHS, "VHS_SplitImages", "", WORKS, images="$images", split_index=2),
        of_pack(
            VFI,
            "Make Interpolation State List",
            "",
            WORKS,
            note="its interpolators take LaVie's frames; they fetch their models themselves",
        ),
        of_pack(DISTRIBUTED, "ImageBatchDivider", "", WORKS, images="$images"),
        of_pack(DISTRIBUTED, "DistributedSeed", "", WORKS, seed=7),
    ),
)

SECTIONS = (
    MODEL,
    CONDITIONING,
    CLIP,
    LATENT,
    SAMPLERS,
    PICTURES,
    KEPT,
    UNFIT,
    PACKED_MODELS,
    PACKED_TEXTS,
    PACKED_IMAGES,
)
