#!/usr/bin/env bash
# lavie-tiny from its world, in one piece. Every step goes on where it stopped, so the script may be stopped and started
# again; a step that is done is not done twice. SCALE=100 takes a hundredth of the steps and clips, to see that it runs.
#
#   lab/train_tiny.sh [RUN_FOLDER]        (the family grows in RUN_FOLDER/family)
set -euo pipefail
runs=${1:-runs}
scale=${SCALE:-1}
family=$runs/family
python=${PYTHON:-python}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} TQDM_MININTERVAL=60

# once NAME COMMAND…: what has been done is marked by a file
once() {
    [ -e "$runs/$1.done" ] && return
    echo "== $1 $(date +%H:%M)"
    "${@:2}"
    touch "$runs/$1.done"
}
denoiser() { "$python" -m lab.training.denoiser "$@"; }

mkdir -p "$family"
[ -e "$family/family.json" ] || cp lavie/weights/tiny/family.json "$family/"
[ -e "$family/base" ] || cp -r lavie/weights/tiny/base "$family/"
once words "$python" -m lab.training.words "$family"
once vae "$python" -m lab.training.autoencoder vae "$family" "$runs/vae" --steps $((${VAE_STEPS:-4000} / scale))

# Pictures teach words, light, places and guests at a sixteenth of the cost of clips; a guest counts more than its size.
objective="--loss-weight clean --mask-weight 5 --optimizer muon --mixed-precision bf16 --device cpu --save-every 50"
stills=$((${STILLS:-12288} / scale))
once stills denoiser base "$family" "$runs/stills" "$runs/latents" --stills "$stills" -- \
    --train-text $objective --learning-rate 1.5e-3 --warmup 30 --batch 48 --ema 0.99 \
    --steps $((${STILL_STEPS:-2000} / scale))
once stills_measured "$python" -m lab.measures.fidelity "$family" --stills --clips $((200 / scale + 1)) --batch 20 \
    --sheet "$runs/stills.png"

# The encoder learns to tell words of motion apart, which pictures do not teach it; from here on it stays as it is.
once motion_words "$python" -m lab.training.motion_words "$family" $((500 / scale + 1))
# Clips and pictures together: the paper's joint objective. While it goes on, `… -- --export --steps 1` writes what it
# knows into the family, for lab.measures.gap and a look.
once clips denoiser base "$family" "$runs/clips" "$runs/latents" --stills "$stills" --clips $((${CLIPS:-3072} / scale)) -- \
    --frames 8 8 16 --fps 8 --images-per-clip 5 --image-weight 0.7 --anchor-share 0.5 $objective \
    --learning-rate 1.2e-3 --warmup 50 --batch 4 --ema 0.995 --steps $((${CLIP_STEPS:-6000} / scale))
once gap "$python" -m lab.measures.gap "$family" --clips $((60 / scale + 6))
once measured "$python" -m lab.measures.fidelity "$family" --clips $((${PROMPTS:-400} / scale + 1)) \
    --sheet "$runs/clips.png" --json "$runs/measured.json"
