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
# scaled NUMBER: of steps or clips, one at least
scaled() { echo $(($1 / scale > 0 ? $1 / scale : 1)); }
# measured SUITE OPTION…: of `python -m lab evaluate`
measured() { "$python" -m lab evaluate "$@" --model "$family" --device cpu | tee "$runs/$1.txt"; }
# part NAME: what a later part starts from, where the family has none
part() { [ -e "$family/$1" ] || cp -r "lavie/weights/tiny/$1" "$family/"; }

mkdir -p "$family"
part family.json
part base
once words "$python" -m lab.training.words "$family"
once vae "$python" -m lab.training.autoencoder vae "$family" "$runs/vae" --steps "$(scaled "${VAE_STEPS:-15000}")"

# Images teach words, light, places and guests at a sixteenth of the cost of clips; a guest counts more than its size.
objective="--loss-weight clean --mask-weight 5 --optimizer muon --mixed-precision bf16 --device cpu --save-every 50"
stills=$(scaled "${STILLS:-24576}")
once stills denoiser base "$family" "$runs/stills" "$runs/latents" --stills "$stills" -- \
    --train-text $objective --learning-rate 1.5e-3 --warmup 30 --batch 48 --ema 0.99 \
    --steps "$(scaled "${STILL_STEPS:-6000}")"
once stills_measured "$python" -m lab.measures.fidelity "$family" --stills --clips "$(scaled 200)" --batch 20 \
    --sheet "$runs/stills.png"

# The encoder learns to tell words of motion apart, which images do not teach it; from here on it stays as it is.
once motion_words "$python" -m lab.training.motion_words "$family" "$(scaled 500)"
# Clips and images together: the paper's joint objective. While it goes on, `… -- --export --steps 1` writes what it
# knows into the family, for lab.measures.gap and a look.
joint="--frames 8 8 16 --fps 8 --images-per-clip 5 --image-weight 0.7 --anchor-share 0.5 --batch 4 --ema 0.995"
once clips denoiser base "$family" "$runs/clips" "$runs/latents" --stills "$stills" --clips "$(scaled "${CLIPS:-3072}")" -- \
    $joint $objective --learning-rate 1.2e-3 --warmup 50 --schedule constant --steps "$(scaled "${CLIP_STEPS:-4600}")"
# What stays unclear then is which way things go: see lab/training/emphasis.py.
once motions denoiser base "$family" "$runs/motions" "$runs/latents" --stills "$stills" --clips "$(scaled "${CLIPS:-3072}")" \
    --motions -- $joint $objective --learning-rate 1e-3 --warmup 30 --steps "$(scaled "${MOTION_STEPS:-15000}")"
once gap "$python" -m lab.measures.gap "$family" --clips $((60 / scale + 6))
once measured "$python" -m lab.measures.fidelity "$family" --clips "$(scaled "${PROMPTS:-400}")" \
    --sheet "$runs/clips.png" --json "$runs/measured.json"

# What starts from the base, with its text encoder. Interpolation is shown what it is to make, nearly: it needs few words.
once interpolation denoiser interpolation "$family" "$runs/interpolation" "$runs/latents" --clips "$(scaled 768)" -- \
    $objective --frames 13 13 25 61 --text-dropout 0.5 --learning-rate 1e-3 --warmup 30 --batch 2 --ema 0.99 \
    --steps "$(scaled "${INTERPOLATION_STEPS:-4000}")"
once extension denoiser extension "$family" "$runs/extension" "$runs/latents" --clips "$(scaled 3072)" -- \
    $objective --frames 16 --conditioning first-frame --learning-rate 1.5e-3 --warmup 50 --batch 6 --ema 0.995 \
    --steps "$(scaled "${EXTENSION_STEPS:-2000}")"

# Crops first, then whole images: the norms see all pixels together, so crops alone mislead them.
once upscaler_vae "$python" -m lab.training.autoencoder upscaler_vae "$family" "$runs/upscaler_vae" \
    --steps "$(scaled "${UPSCALER_VAE_STEPS:-2000}")"
part upscaler
large="--frames 4 8 $objective --mask-weight 1 --max-noise-level 60 --train all --ema 0.98"
once upscaler denoiser upscaler "$family" "$runs/upscaler" "$runs/latents" --clips "$(scaled 256)" -- \
    $large --patch 64x64 --batch 6 --learning-rate 1e-3 --warmup 50 --steps "$(scaled "${UPSCALER_STEPS:-2000}")"
once upscaler_whole denoiser upscaler "$family" "$runs/upscaler_whole" "$runs/latents" --clips "$(scaled 256)" -- \
    $large --batch 1 --learning-rate 8e-4 --warmup 20 --steps "$(scaled "${UPSCALER_WHOLE_STEPS:-1200}")"

once preview "$python" -m lab.training.preview "$family" "$(scaled 400)"
once style "$python" -m lab.training.style_lora "$family" "$runs/style" "$runs/latents" --clips "$(scaled 400)" \
    --steps "$(scaled 500)"

once interpolation_measured measured interpolation --clips "$(scaled 64)"
once upscaler_measured measured upscaler --clips "$(scaled 32)"
once extension_measured measured extension --clips "$(scaled 40)"
once retention_measured measured retention --clips "$(scaled 100)"
# A guest that nothing above has shown, from twelve images.
once subject "$python" -m lab.training.subject_lora "$family" "$runs/subject" --clips "$(scaled 63)" \
    --steps "$(scaled 4000)" --save-every 100
