#!/usr/bin/env bash
# What joint training keeps (the paper's section 5.5): one base network that has learnt from pictures goes on in three
# ways, and is then asked for clips in the two colours that only pictures have shown.
#
#   scripts/ablate_joint_training.sh FAMILY_AFTER_PICTURES [RUN_FOLDER]
set -euo pipefail
start=${1:?the family whose base has learnt from pictures alone}
runs=${2:-runs/ablation}
steps=${STEPS:-1500}
common="--videos synthetic:4000 --frames 8 --fps 4 --loss-weight clean --sprite-weight 6 --batch 8 --learning-rate 7e-4 \
    --mixed-precision bf16 --precompute $runs/latents --device ${DEVICE:-auto}"

# variant NAME OPTION…: trains a copy of the family, and measures it
variant() {
    local name=$1
    shift
    mkdir -p "$runs/$name"
    [ -e "$runs/$name/family" ] || cp -r "$start" "$runs/$name/family"
    python -m lavie train base --family "$runs/$name/family" --run "$runs/$name/run" --steps "$steps" $common "$@"
    python -m lavie evaluate retention --model "$runs/$name/family" --json >"$runs/$name/retention.json"
}

mkdir -p "$runs"
variant video_only
variant temporal_only --train temporal
variant joint --images synthetic-stills:12000 --images-per-clip 4 --image-weight 0.5
for name in video_only temporal_only joint; do echo "$name: $(cat "$runs/$name/retention.json")"; done
