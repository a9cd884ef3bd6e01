#!/usr/bin/env bash
# The whole recipe of the bundled family. Every step resumes from its checkpoint, so the script may be stopped and
# started again. On two CPU cores it takes about FIXME hours; DEVICE=cuda uses a GPU.
#
#   scripts/train_lavie_tiny.sh [FAMILY_FOLDER] [RUN_FOLDER]
set -euo pipefail
family=${1:-runs/lavie-tiny}
runs=${2:-runs}
train() { python -m lavie train "$@" --family "$family" --cache "$runs/cache" --device "${DEVICE:-cpu}"; }

mkdir -p "$family"
cp lavie/weights/tiny/family.json "$family/"
train vae --run "$runs/vae" --steps 2400
train upscaler-vae --run "$runs/upscaler_vae" --steps 2000

# Still pictures teach words, colours and places; then the text encoder stays as it is, as in LaVie.
train base --run "$runs/base_images" --steps 1600 --clips 5000 --frames 1 --batch-frames 32
cp -r "$family" "$runs/after_images"
train base --run "$runs/base_video" --steps 2400 --clips 5000 --frames 8 16 16 --batch-frames 64 \
    --learning-rate 8e-4 --freeze-text --init "$runs/after_images"

train upscaler --run "$runs/upscaler_crops" --steps 1500 --clips 220 --batch-frames 48 --crop 16
cp -r "$family" "$runs/after_crops"
train upscaler --run "$runs/upscaler_whole" --steps 150 --clips 220 --batch-frames 8 --learning-rate 2e-4 \
    --init "$runs/after_crops"
train interpolation --run "$runs/interpolation" --steps 1300 --clips 700 --frames 13 25 61 --batch-frames 122

python -m lavie evaluate synthetic --model "$family" --prompts 200
