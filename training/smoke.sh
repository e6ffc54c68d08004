#!/bin/sh
# Runs every training stage with toy sizes, to test that the stages fit together, not that they learn. About 5 minutes.
set -eu
cd "$(dirname "$0")/.."
out=${1:-build/training-smoke}
python=${PYTHON:-python}
rm -rf "$out"
export OMP_NUM_THREADS=1
$python -m training.draw --out "$out" --pictures 64 --heldout 32
$python -m training.autoencoder --data "$out" --channels 8 --widths 8 16 24 32 48 --fit-on 64 --linear-minutes 0.2 --minutes 0.2 --batch 4
$python -m training.way_back --data "$out" --minutes 0.2 --batch 8 --kept 100
size="--data $out --widths 32 64 --text-width 48 --text-layers 1"
$python -m training.text_to_image $size --text-minutes 0.05 --minutes 0.15 --batch 8 --save-every 0.1
$python -m training.text_to_image $size --export "$out/early"
$python -m training.loop_pairs --data "$out" --pictures 16 --model "$out/early"
$python -m training.text_to_image $size --minutes 0.25 --batch 8 --processes 1  # resumes
$python -m training.text_to_image $size --export "$out/diffusion" --mean-with "$out/early"
$python -m training.motion_pairs --data "$out" --pictures 32 --workers 2
$python -m training.motion --data "$out" --model "$out/diffusion" --minutes 0.1 --batch 2 --pairs 2
$python -m training.motion --data "$out" --model "$out/diffusion" --export "$out/moving" --share 0.5
$python -m training.few_steps --data "$out" --model "$out/diffusion" --minutes 0.1 --batch 2
$python -m training.few_steps --data "$out" --model "$out/diffusion" --export "$out/few"
$python -m training.evaluate --data "$out" --model "$out/diffusion" --out "$out/evaluation" --steps 4
$python -m training.adherence --data "$out" --model "$out/few" --passes 1 --others 300 --samples 4 --steps 2
$python -m training.stability --data "$out" --model "$out/diffusion" --out "$out/stability" --frames 42 --prompts 1 \
    --behaviors iter --moves 2D --changes 0
$python -m training.finishing_pairs --data "$out" --runs 4 --heldout 2 --pictures 8
$python -m training.finishing --data "$out" --stage mean --minutes 0.1
$python -m training.finishing --data "$out" --stage teach
$python -m training.finishing --data "$out" --stage firm --minutes 0.2
$python -m training.finishing --data "$out" --stage firm --export "$out/finishing-model"
$python -m training.control --data "$out/control" --pictures 32 --heldout 16 --minutes 0.2 --batch 4
$python -m training.control --data "$out/control" --export "$out/control-model"
$python -m training.depth --data "$out" --pictures 24 --heldout 8 --minutes 0.1 --batch 4
$python -m training.depth --data "$out" --evaluate
echo "all stages ran; pictures are in $out/evaluation"
