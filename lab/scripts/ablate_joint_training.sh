#!/usr/bin/env bash
# What joint training keeps (the paper's section 5.5): one base network that knows pictures and clips goes on in three
# ways, and is then asked for clips in the two colours that only pictures have shown.
#
#   lab/scripts/ablate_joint_training.sh FAMILY [RUN_FOLDER]
#
# STEPS (400), CLIPS (40) and LATENTS (RUN_FOLDER/latents) may be set in the environment.
set -euo pipefail
start=${1:?the family whose base goes on}
runs=${2:-runs/ablation}
steps=${STEPS:-400}
common="--videos synthetic:3000:31 --frames 8 8 16 --fps 8 --anchor-share 0.5 --loss-weight clean --mask-weight 6 \
    --batch 4 --optimizer muon --learning-rate 1e-3 --warmup 20 --ema 0.98 --precompute ${LATENTS:-$runs/latents} \
    --device ${DEVICE:-auto} --mixed-precision ${PRECISION:-no}"

# variant NAME OPTION…: trains a copy of the family, and measures it
variant() {
    local name=$1
    shift
    mkdir -p "$runs/$name"
    [ -e "$runs/$name/family" ] || cp -r "$start" "$runs/$name/family"
    python -m lab train base --family "$runs/$name/family" --run "$runs/$name/run" --steps "$steps" $common "$@"
    python -m lab evaluate retention --model "$runs/$name/family" --clips "${CLIPS:-40}" --json \
        >"$runs/$name/retention.json"
}

mkdir -p "$runs"
variant video_only
variant temporal_only --train temporal
variant joint --images synthetic-stills:20000:31 --images-per-clip 4 --image-weight 0.5
for name in video_only temporal_only joint; do echo "$name: $(cat "$runs/$name/retention.json")"; done
