#!/bin/sh
# Installs the program into a new environment: the step of the Dockerfile that takes the time, which a test runs too.
#
#   docker/install.sh ENVIRONMENT [cpu|cuda] [EXTRAS]
#
# TORCH_INDEX: where torch comes from, in place of that of the variant. PIP_OPTIONS: more options of pip install.
set -eu

environment=$1
variant=${2:-cpu}
extras=${3:-serve}
case $variant in
    # PyPI's torch for Linux brings CUDA's libraries along, 4 GB of them; that for processors has an index of its own.
    cpu) index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu} ;;
    cuda) index=${TORCH_INDEX:-https://pypi.org/simple} ;;
    *)
        echo "$variant: expected cpu or cuda" >&2
        exit 2
        ;;
esac

cd "$(dirname "$0")/.."
python3 -m venv "$environment"
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# shellcheck disable=SC2086 # several options
"$environment/bin/pip" install ${PIP_OPTIONS:-} --index-url "$index" torch torchvision
# shellcheck disable=SC2086
"$environment/bin/pip" install ${PIP_OPTIONS:-} ".[$extras]"
"$environment/bin/deforum" --version
