#!/bin/sh
# Trains everything in deforum/embedded/ from scratch on one GPU: 39 minutes of training with the budgets below, plus the
# time to draw pictures, make pairs and evaluate.
#
#     sh training/full.sh [FOLDER] [DEVICE] [SCALE]
#
# SCALE multiplies all budgets. The device cpu trains the same models with far fewer samples. The results are written to
# FOLDER/diffusion and FOLDER/depth-model, to be looked at before they are copied. A stopped run continues from its last
# checkpoints.
set -eu
cd "$(dirname "$0")/.."
out=${1:-build/training} device=${2:-cuda} scale=${3:-1}
python=${PYTHON:-python}
workers=$(nproc)
export OMP_NUM_THREADS=1
minutes() { awk "BEGIN { print $1 * $scale }"; }

[ -f "$out/train/captions.json" ] || $python -m training.draw --out "$out" --pictures 32000 --workers "$workers"
on="--data $out --device $device"
$python -m training.autoencoder $on --linear-minutes "$(minutes 4)" --minutes "$(minutes 8)" --batch 64 --threads "$workers"
$python -m training.way_back $on --minutes "$(minutes 4)" --batch 64
$python -m training.text_to_image $on --batch 512 --text-minutes "$(minutes 0.5)" --minutes "$(minutes 8)"
$python -m training.text_to_image --data "$out" --export "$out/early"
[ -f "$out/train/loop.npz" ] || $python -m training.loop_pairs $on --model "$out/early" --views 32000 --pictures 4000
$python -m training.text_to_image $on --batch 512 --minutes "$(minutes 16)"
$python -m training.text_to_image --data "$out" --export "$out/diffusion"
$python -m training.depth $on --pictures 18000 --minutes "$(minutes 6)" --batch 128 --workers "$workers"
$python -m training.depth --data "$out" --export "$out/depth-model"
$python -m training.evaluate $on --model "$out/diffusion" --out "$out/evaluation"
$python -m training.adherence $on --model "$out/diffusion" --out "$out/evaluation/adherence.jpg"
