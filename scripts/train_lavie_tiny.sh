#!/usr/bin/env bash
# The whole recipe of the bundled family. Every step goes on where it stopped, so the script may be stopped and started
# again; a step that is done is not done twice. DEVICE=cuda PRECISION=bf16 uses a GPU. On two CPU cores it is a night's
# work: SCALE=100 takes a hundredth of the steps and of the clips, to see that everything runs.
#
#   scripts/train_lavie_tiny.sh [FAMILY_FOLDER] [RUN_FOLDER]
set -euo pipefail
family=${1:-runs/lavie-tiny}
runs=${2:-runs}
scale=${SCALE:-1}
export OMP_WAIT_POLICY=passive

# train NAME STEPS STAGE OPTION…
train() {
    local name=$1 steps=$(($2 / scale)) stage=$3
    shift 3
    [ -e "$runs/$name/done" ] && return
    python -m lavie train "$stage" --family "$family" --run "$runs/$name" --steps "$steps" --device "${DEVICE:-auto}" \
        --mixed-precision "${PRECISION:-bf16}" --save-every 200 "$@"
    touch "$runs/$name/done"
}

mkdir -p "$family" "$runs"
[ -e "$family/family.json" ] || sed s/text_encoder_2/text_encoder/ lavie/weights/tiny/family.json >"$family/family.json"
cp -rn lavie/weights/tiny/tokenizer "$family/"
train vae 6000 vae
train upscaler_vae 2000 upscaler-vae

# Pictures teach words, colours, shapes and places at a sixteenth of the cost of clips; two colours are never in a clip.
objective="--loss-weight clean --sprite-weight 6"
pictures="--images synthetic-stills:$((12000 / scale)) --precompute $runs/latents/pictures"
train pictures 4000 base --init scratch --train-text $pictures $objective --batch 32 --learning-rate 1.5e-3

# Clips and pictures together: the paper's joint objective, 8 frames first, then 16. The gate of every long run is the
# word-swap gap: python -m lavie evaluate synthetic --gap-only --model "$family"
joint="--images synthetic-stills:$((12000 / scale)) --image-weight 0.5 --train-text $objective"
train clips_8 2300 base --videos synthetic:$((4000 / scale)) --frames 8 --fps 4 --images-per-clip 4 $joint --batch 8 \
    --learning-rate 1e-3 --precompute "$runs/latents/clips_8"
train clips_16 12000 base --videos synthetic:$((8000 / scale)):9 --frames 16 --images-per-clip 8 $joint --batch 6 \
    --learning-rate 7e-4 --precompute "$runs/latents/clips_16"

# What starts from the base, with its text encoder.
train interpolation 1300 interpolation --videos synthetic:$((500 / scale)):5 --fps 32 --frames 13 25 61 --loss-weight clean \
    --batch 4 --learning-rate 8e-4 --precompute "$runs/latents/clips_61"
train extension 2000 extension --videos synthetic:$((8000 / scale)):9 --frames 16 --conditioning first-frame $objective --batch 6 \
    --learning-rate 5e-4 --precompute "$runs/latents/clips_16"
train upscaler 1200 upscaler --videos synthetic:$((160 / scale)):2 --fps 8 32 --frames 8 --patch 64x64 --loss-weight clean \
    --batch 6 --learning-rate 1e-3 --precompute "$runs/latents/large"

python -m lavie evaluate synthetic --model "$family" --prompts $((400 / scale))
