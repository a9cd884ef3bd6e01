#!/usr/bin/env bash
# The whole recipe of the bundled family. Every step resumes from its checkpoint, so the script may be stopped and
# started again. On two CPU cores it takes about two and a half hours; DEVICE=cuda uses a GPU.
#
#   scripts/train_lavie_tiny.sh [FAMILY_FOLDER] [RUN_FOLDER]
set -euo pipefail
family=${1:-runs/lavie-tiny}
runs=${2:-runs}
export OMP_WAIT_POLICY=passive
train() { python -m lavie train "$@" --cache "$runs/cache" --device "${DEVICE:-cpu}"; }

mkdir -p "$family" "$runs"
cp lavie/weights/tiny/family.json "$family/"
train vae --family "$family" --run "$runs/vae" --steps 2400
train vae-decoder --family "$family" --run "$runs/vae_decoder" --steps 1500
train upscaler-vae --family "$family" --run "$runs/upscaler_vae" --steps 2000

# Still pictures teach words, colours and places, in two rounds; then the text encoder stays as it is, as in LaVie.
stills="--clips 4000 --frames 1 --batch-frames 32"
train base --family "$family" --run "$runs/base_images" --steps 1100 $stills
cp -r "$family/text_encoder" "$family/text_encoder_2"
cp -r "$family" "$runs/after_first_stills"
train base --family "$family" --run "$runs/base_images2" --steps 1200 $stills --init "$runs/after_first_stills"
cp -r "$family" "$runs/after_stills"
train base --family "$family" --run "$runs/base_video" --steps 850 --clips 4000 --frames 8 16 16 --batch-frames 64 \
    --learning-rate 8e-4 --freeze-text --init "$runs/after_stills"

# The later stages learn beside the base, with the text encoder of the first round.
later=$runs/after_first_stills
train upscaler --family "$later" --run "$runs/upscaler_crops" --steps 1000 --clips 160 --batch-frames 48 --crop 16
cp -r "$later" "$runs/after_crops"
train upscaler --family "$later" --run "$runs/upscaler_whole" --steps 110 --clips 160 --batch-frames 8 \
    --learning-rate 3e-4 --init "$runs/after_crops"
train interpolation --family "$later" --run "$runs/interpolation" --steps 900 --clips 400 --frames 13 25 61 \
    --batch-frames 122
cp -r "$later/upscaler" "$later/interpolation" "$family/"

python -m lavie evaluate synthetic --model "$family" --prompts 200
