#!/usr/bin/env bash
# The whole recipe of the bundled family. Every step goes on where it stopped, so the script may be stopped and started
# again; a step that is done is not done twice. DEVICE=cuda PRECISION=bf16 uses a GPU. On two CPU cores it is a night's
# work: SCALE=100 takes a hundredth of the steps and of the clips, to see that everything runs.
#
#   lab/scripts/train_lavie_tiny.sh [FAMILY_FOLDER] [RUN_FOLDER]
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
    python -m lab train "$stage" --family "$family" --run "$runs/$name" --steps "$steps" --device "${DEVICE:-auto}" \
        --mixed-precision "${PRECISION:-bf16}" --save-every 200 "$@"
    touch "$runs/$name/done"
}

mkdir -p "$family" "$runs"
# The base predicts v: from pure noise an epsilon's slightest bias grows 150-fold, and words say nothing there. The later
# stages are shown what they are to make, nearly, and predict the clean latents.
[ -e "$family/family.json" ] || cp lavie/weights/tiny/family.json "$family/"
cp -rn lavie/weights/tiny/tokenizer "$family/"
train vae 6000 vae
train upscaler_vae 2000 upscaler-vae

# Pictures teach words, colours, shapes and places at a sixteenth of the cost of clips; two colours are never in a clip.
objective="--loss-weight clean --mask-weight 6 --optimizer muon --learning-rate 1.5e-3 --warmup 50"
stills="synthetic-stills:$((36000 / scale)):31"
train pictures 4000 base --init scratch --train-text --images "$stills" --precompute "$runs/latents/base" $objective \
    --batch 32 --ema 0.99

# The encoder learns to tell words of motion apart, which pictures do not teach it; from here on it stays as it is.
[ -e "$runs/spread" ] || { python -m lab.scripts.spread_motion_words "$family" $((500 / scale + 1)) && touch "$runs/spread"; }

# Clips and pictures together: the paper's joint objective. The gate of every long run is the word-swap gap:
# python -m lab evaluate synthetic --gap-only --model "$family"
train clips 12000 base --videos "synthetic:$((6000 / scale)):31" --images "$stills" --frames 8 8 16 --fps 8 \
    --images-per-clip 10 --image-weight 1 --anchor-share 0.5 --precompute "$runs/latents/base" $objective \
    --batch 4 --ema 0.995

# What starts from the base, with its text encoder.
train interpolation 4000 interpolation --videos "synthetic:$((500 / scale + 1)):55" --fps 32 --frames 13 13 25 61 \
    --mask-weight 3 --optimizer muon --learning-rate 1e-3 --warmup 30 --ema 0.99 --batch 2 --text-dropout 0.5 \
    --precompute "$runs/latents/clips_61"
train extension 2000 extension --videos "synthetic-courses:$((3000 / scale)):9" --frames 16 --conditioning first-frame \
    $objective --batch 6 --precompute "$runs/latents/courses"

# Crops first, then whole pictures: the norms see all pixels together, so crops alone mislead them.
large="--videos synthetic:$((110 / scale + 1)):12 --fps 16 --frames 4 8 --optimizer muon --max-noise-level 60 \
    --precompute $runs/latents/large --ema 0.98"
train upscaler 1000 upscaler $large --patch 64x64 --batch 6 --learning-rate 1e-3
train upscaler_whole 1200 upscaler $large --batch 1 --learning-rate 8e-4 --warmup 20 --train all

python -m lab evaluate synthetic --model "$family" --prompts $((400 / scale))
