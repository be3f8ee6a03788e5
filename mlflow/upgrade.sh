#!/usr/bin/env bash
# upgrade.sh FOLDER: a backup into FOLDER, then the database as the installed MLflow wants it.
# The server must not run: an older one cannot read what this leaves.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=settings.sh
source "$here/settings.sh"
if (: <"/dev/tcp/127.0.0.1/${MLFLOW_PORT:-5000}") 2>/dev/null; then
    echo "error: port ${MLFLOW_PORT:-5000} answers: stop the server first" >&2
    exit 1
fi

"$here/backup.sh" "${1:?usage: upgrade.sh FOLDER}"
mlflow db upgrade "$MLFLOW_BACKEND_STORE_URI"
python -P -m mlflow.server.auth db upgrade --url "$MLFLOW_BACKEND_STORE_URI"
