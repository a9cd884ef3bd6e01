#!/bin/sh
# Every table of docs/studies/speed.md and docs/memory.md on a CUDA card, as JSON in the folder given; or those that are named.
#
#     benchmarks/gpu.sh RESULTS [cascade exact clip limit decode memory lora speed native]
#
# native runs the tests in a real ComfyUI on the card, with dynamic VRAM where that has it: see docs/comfyui-tests.md for
# COMFYUI_PATH and COMFYUI_PYTHON. It is run by default if COMFYUI_PATH is set.
#
# By estimate 20 minutes on an H200 for all, the ones that matter most first; what is done is kept where a later one fails.
cd "$(dirname "$0")/.." || exit
python=${PYTHON:-python}
out=${1:-runs/gpu}
mkdir -p "$out"
[ $# -gt 0 ] && shift
[ $# -eq 0 ] && set -- cascade exact clip limit decode memory lora speed ${COMFYUI_PATH:+native}
failed=
for table; do
    echo "== $table, $(date +%T)"
    case $table in
    cascade)
        $python benchmarks/cascade.py --device cuda --speed balanced fast --json "$out/cascade.json" &&
            $python benchmarks/cascade.py --device cuda --stage base interpolation --speed exact --compile \
                --json "$out/cascade_exact.json"
        ;;
    exact) $python benchmarks/exact.py --device cuda --dtype bfloat16 --compile --json "$out/exact.json" ;;
    clip) $python benchmarks/clip.py --device cuda --compile --json "$out/clip.json" ;;
    limit)
        $python benchmarks/memory.py --device cuda --case base --limit 4GB > "$out/limit_base.json" &&
            $python benchmarks/memory.py --device cuda --case interpolation --limit 6GB > "$out/limit_interpolation.json" &&
            $python benchmarks/memory.py --device cuda --case upscaler --limit 8GB > "$out/limit_upscaler.json"
        ;;
    decode) $python benchmarks/decode.py --device cuda --json "$out/decode.json" ;;
    memory) $python benchmarks/memory.py --device cuda --json > "$out/memory.json" ;;
    lora) $python benchmarks/lora_memory.py --device cuda > "$out/lora.txt" ;;
    native)
        COMFYUI_DEVICE=cuda $python -m pytest tests/comfyui/test_native.py tests/comfyui/test_server.py -rA \
            > "$out/native.txt" 2>&1 && ! grep -q "SKIPPED.*COMFYUI_PATH" "$out/native.txt"
        ;;
    speed) $python -m lavie evaluate speed --device cuda --json > "$out/speed.json" ;;
    *) echo "There is no table '$table'." && false ;;
    esac || failed="$failed $table"
done
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
