"""What goes onto the MODEL."""

from __future__ import annotations

from rows import ACTS, NO_PART, REFUSED, SAME, Section, chain, on_model

GUIDANCE = "LaVie's samplers have guidance_scale and guidance_rescale instead"
SCHEDULE = "LaVie's samplers have sampler and spacing instead"
CACHE = "LaVie's samplers have speed instead"
IMAGES = "it is made for single images"

MODEL = Section(
    "MODEL",
    "model",
    (
        on_model("LoraLoaderModelOnly", ACTS, ACTS, "Stable Diffusion 1.x LoRAs", lora_name="own.safetensors"),
        chain(
            ("LoraLoader", {"model": "$model", "clip": "$clip", "lora_name": "own.safetensors"}), ours=ACTS, core=ACTS
        ),
        on_model("LoraLoaderBypassModelOnly", ACTS, ACTS, lora_name="own.safetensors"),
        on_model("FreeU", ACTS, ACTS),
        on_model("FreeU_V2", ACTS, ACTS),
        on_model("TomePatchModel", ACTS, ACTS, "faster, less detail", ratio=0.5),
        on_model("HyperTile", ACTS, ACTS, "faster for large frames", tile_size=32, max_depth=1),
        on_model("PatchModelAddDownscale", ACTS, ACTS, "coherent frames at sizes the model was not trained for"),
        on_model("HypernetworkLoader", ACTS, ACTS, hypernetwork_name="own.pt"),
        on_model("NAGuidance", ACTS, ACTS, "a stronger negative prompt"),
        on_model("UNetSelfAttentionMultiply", ACTS, ACTS, k=1.3),
        on_model("UNetCrossAttentionMultiply", ACTS, ACTS, k=1.3),
        on_model("UNetTemporalAttentionMultiply", ACTS, ACTS, self_structural=1.2),
        chain(("ModelMergeSimple", {"model1": "$model", "model2": "$other", "ratio": 0.5}), ours=ACTS, core=ACTS),
        chain(("ModelMergeAdd", {"model1": "$model", "model2": "$other"}), ours=ACTS, core=ACTS),
        chain(
            ("ModelMergeSubtract", {"model1": "$model", "model2": "$other", "multiplier": 0.1}), ours=ACTS, core=ACTS
        ),
        chain(("ModelMergeBlocks", {"model1": "$model", "model2": "$other", "input": 0.5}), ours=ACTS, core=ACTS),
        on_model("TorchCompileModel", REFUSED, SAME, "faster after the first step", backend="eager"),
        on_model("EasyCache", REFUSED, ACTS, CACHE, reuse_threshold=3.0, start_percent=0.0),
        on_model("LazyCache", REFUSED, ACTS, CACHE, reuse_threshold=3.0, start_percent=0.0),
        on_model(
            "ContextWindowsManual",
            REFUSED,
            ACTS,
            "set dim to 2; LaVie Long Video Sampler does it better",
            context_length=2,
            context_overlap=1,
            dim=2,
        ),
        on_model("PerturbedAttentionGuidance", REFUSED, ACTS, GUIDANCE),
        on_model("CFGOverride", REFUSED, ACTS, GUIDANCE, cfg=5.0),
        on_model("RescaleCFG", REFUSED, ACTS, GUIDANCE),
        on_model("RenormCFG", REFUSED, ACTS, GUIDANCE, renorm_cfg=0.5),
        on_model("CFGZeroStar", REFUSED, ACTS, GUIDANCE),
        on_model("CFGNorm", REFUSED, ACTS, GUIDANCE, strength=0.5),
        on_model("APG", REFUSED, ACTS, GUIDANCE),
        on_model("TCFG", REFUSED, ACTS, GUIDANCE),
        on_model("Mahiro", REFUSED, ACTS, GUIDANCE),
        on_model("Epsilon Scaling", REFUSED, ACTS, GUIDANCE),
        on_model("TemporalScoreRescaling", REFUSED, ACTS, GUIDANCE, tsr_k=0.8),
        on_model("FreSca", REFUSED, ACTS, GUIDANCE, freq_cutoff=2),
        on_model("VideoLinearCFGGuidance", REFUSED, ACTS, GUIDANCE),
        on_model("VideoTriangleCFGGuidance", REFUSED, ACTS, GUIDANCE),
        chain(
            ("PerpNeg", {"model": "$model", "empty_conditioning": "$positive"}), ours=REFUSED, core=ACTS, note=GUIDANCE
        ),
        chain(
            ("LatentOperationTonemapReinhard", {}),
            ("LatentApplyOperationCFG", {"model": "$model", "operation": "@0"}),
            ours=REFUSED,
            core=ACTS,
            note=GUIDANCE,
        ),
        on_model("SelfAttentionGuidance", REFUSED, REFUSED, IMAGES),
        on_model("SkipLayerGuidanceDiT", REFUSED, REFUSED, NO_PART, start_percent=0.0, end_percent=1.0),
        on_model("SkipLayerGuidanceDiTSimple", REFUSED, REFUSED, NO_PART),
        on_model("SkipLayerGuidanceSD3", REFUSED, REFUSED, NO_PART, start_percent=0.0, end_percent=1.0),
        on_model("ModelSamplingDiscrete", REFUSED, ACTS, SCHEDULE, sampling="eps"),
        on_model("ModelSamplingContinuousEDM", REFUSED, ACTS, SCHEDULE),
        on_model("ModelSamplingContinuousV", REFUSED, ACTS, SCHEDULE),
        on_model("ModelSamplingSD3", REFUSED, ACTS, SCHEDULE + "; made for another kind of model"),
        chain(
            ("DifferentialDiffusion", {"model": "$model"}),
            ours=REFUSED,
            core=ACTS,
            note="with a soft noise mask on the latent",
            beside={"latent": "$masked", "denoise": 0.6},
        ),
        on_model("ModelComputeDtype", REFUSED, REFUSED, "choose dtype in LaVie Loader", dtype="fp16"),
        on_model("ModelAttentionBackend", REFUSED, REFUSED, "LaVie uses PyTorch's"),
        on_model("ScaleROPE", REFUSED, REFUSED, NO_PART, scale_x=1.5),
    ),
)
