#!/bin/sh
# Every table of docs/performance.md on a CUDA card, as JSON in the folder given.
#
#     benchmarks/gpu.sh [RESULTS]
set -e
cd "$(dirname "$0")/.."
out=${1:-runs/gpu}
mkdir -p "$out"
python benchmarks/exact.py --device cuda --dtype bfloat16 --compile --json "$out/exact.json"
python benchmarks/clip.py --device cuda --compile --json "$out/clip.json"
python benchmarks/memory.py --device cuda --json > "$out/memory.json"
python benchmarks/memory.py --device cuda --limit 8GB > "$out/limit.json"
python benchmarks/lora_memory.py --device cuda > "$out/lora.txt"
python -m lavie evaluate speed --device cuda --json > "$out/speed.json"
