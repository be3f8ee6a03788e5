#!/usr/bin/env bash
# gc.sh [AGE]: take away for good what was deleted more than AGE (30d) ago. `mlflow gc` does not
# look at the registry, so gc_check.py does first. Needs MLFLOW_TRACKING_URI and an admin's
# MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, beside what backup.sh needs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=settings.sh
source "$here/settings.sh"
: "${MLFLOW_TRACKING_URI:?must be the address of the server}"

python "$here/gc_check.py"
mlflow gc --older-than "${1:-30d}" --backend-store-uri "$MLFLOW_BACKEND_STORE_URI"
