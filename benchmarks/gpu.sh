#!/usr/bin/env bash
# What a GPU makes of this project: one command on a machine that may have nothing but a Python with
# torch and transformers, and no network. See "A GPU" in benchmarks/README.md.
#
#     benchmarks/gpu.sh [--rehearse] [--wheels DIR] [--minutes 9] [--out DIR]
#
# PYTHON names another Python than python3.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/site"
arguments=("$@")
while (($#)); do
    case $1 in
        --wheels) wheels=${2:?--wheels takes a folder} ;;
        --wheels=*) wheels=${1#*=} ;;
    esac
    shift
done
if [[ -n ${wheels:-} ]]; then
    for wheel in "$wheels"/*.whl; do
        "$python" -m zipfile -e "$wheel" "$work/site"
    done
fi

# What was brought comes first, before what Python has itself.
export PYTHONPATH="$work/site:$root${PYTHONPATH:+:$PYTHONPATH}"
# A GPU is looked for by the driver's library, which leaves it untouched for processes to come.
export PYTORCH_NVML_BASED_CUDA_CHECK=1
export SWEEPS_CACHE="$work/cache" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
"$python" -m benchmarks.gpu "${arguments[@]}"
