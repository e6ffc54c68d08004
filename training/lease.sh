#!/bin/sh
# What nine minutes of one graphics card add to the embedded weights: training for motion, and the finishing network.
#
#     sh training/lease.sh [RESULTS] [DEVICE] [SCALE]
#
# The processor's cores draw and render while the card trains; both trainings share the card, as neither fills it. SCALE
# multiplies budgets and numbers of pictures: `sh training/lease.sh build/lease cpu 0.02` tests that all fits together.
# It starts from the embedded weights and needs nothing but the checkout and its packages. RESULTS gets the UNet and the
# finishing network as they are shipped, in files under 16 MiB, the logs, pictures, and how much motion is seen, to be
# judged before they replace the shipped ones.
set -eu
cd "$(dirname "$0")/.."
results=${1:-build/lease} device=${2:-cuda} scale=${3:-1}
data=${DATA:-build/training-lease}
python=${PYTHON:-python3}
cores=$(nproc --all)
shipped=deforum/embedded
export OMP_NUM_THREADS=1 PYTHONPATH=. PYTHONUNBUFFERED=1
mkdir -p "$results" "$data"
data=$(cd "$data" && pwd)

of() { awk "BEGIN { n = $1 * $scale; print n < $2 ? $2 : n }"; }    # scaled minutes, at least ...
many() { awk "BEGIN { n = int($1 * $scale); print n < $2 ? $2 : n }"; }  # scaled counts
share() { awk "BEGIN { n = int($cores * $1); print n < 1 ? 1 : n }"; }  # of the cores

log() { echo "$(date +%T) $*" >> "$results/log.txt"; }

finishing() {
    on="--data $data --device $device"
    $python -m training.finishing_pairs --data "$data" --runs "$(many 1600 2)" --minutes "$(of 2.5 0.2)" \
        --heldout "$(many 6 1)" --pictures "$(many 300 4)" --workers "$(share 0.7)"
    log finishing: pairs
    $python -m training.finishing $on --stage mean --minutes "$(of 1.2 0.05)" --pairs "$batch"
    $python -m training.finishing $on --stage teach --frames "$(many 250 4)" --threads "$(share 0.5)"
    log finishing: taught
    $python -m training.finishing $on --stage firm --minutes "$(of 1.4 0.1)" --pairs "$batch" \
        --start "$shipped/finishing"
    $python -m training.finishing --data "$data" --stage firm --export "$results"
    log finishing: done
}

motion() {
    on="--data $data --device $device"
    $python -m training.motion_pairs $on --prepare "$shipped/diffusion" --pictures "$(many 8000 80)" \
        --workers "$(share 0.25)"
    log motion: pairs
    $python -m training.loop_pairs $on --model "$shipped/diffusion" --views "$(many 4000 32)" \
        --pictures "$(many 1200 16)"
    log motion: loop pairs
    $python -m training.motion $on --model "$shipped/diffusion" --minutes "$(of 3 0.3)" --save-every "$(of 0.5 0.1)" \
        --batch "$samples" --pairs "$pairs"
    $python -m training.motion --data "$data" --model "$shipped/diffusion" --export "$data/moving"
    cp "$data"/moving/unet/*.safetensors "$results"
    log motion: trained
    $python -m training.evaluate $on --model "$data/moving" --out "$results" --no-numbers
    $python -m benchmarks.motion_seen --frames "$(many 16 4)" --moves "zoom 1.015" "flight 5" --prompts 0 \
        --set "model=$data/moving" latent_grid=moving
}

case $device in cpu) batch=1 samples=8 pairs=4 ;; *) batch=16 samples=256 pairs=64 ;; esac
: > "$results/log.txt"
log begin
[ -f "$data/train/labels.json" ] ||
    $python -m training.draw --out "$data" --pictures "$(many 12000 96)" --heldout "$(many 512 32)" --workers "$cores"
log drawn
finishing > "$results/finishing.txt" 2>&1 &
rest=$!
motion > "$results/motion.txt" 2>&1 &
failed=0
wait $! || failed=1
wait $rest || failed=1
log end
find "$results" -type f -size +16384k | grep . && { echo "files above 16 MiB"; exit 1; }
[ $failed = 0 ] || { tail -n 5 "$results"/*.txt; exit 1; }
cat "$results/log.txt"
tail -n 4 "$results/motion.txt"
