#!/usr/bin/env bash
# The team's MLflow server: basic auth, Postgres, artifacts in a folder or in S3.
# Runs by hand with a Postgres of its own, and as it is in the container. .env.example explains
# the variables. TERM, INT and HUP end everything that was started here; so does kill -9.
set -euo pipefail
set -m # each job is a process group: uvicorn's workers outlive their parent otherwise
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# shellcheck source-path=SCRIPTDIR source=settings.sh
source "$here/settings.sh"
: "${MLFLOW_AUTH_ADMIN_PASSWORD:?must be the password of the first admin; see .env.example}"
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:?must be a long random text; see .env.example}"
host=${MLFLOW_HOST:-127.0.0.1} port=${MLFLOW_PORT:-5000} server=""
[[ -d $TEAM_HOME ]] || install -d -m 755 "$TEAM_HOME" # the user postgres must get through
mkdir -p "$TEAM_HOME/metrics"

stop() {
    if [[ -n $server ]]; then
        kill -TERM -- "-$server" 2>/dev/null || true
        for _ in {1..100}; do
            kill -0 -- "-$server" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL -- "-$server" 2>/dev/null || true
    fi
    if [[ $own_postgres = yes ]]; then
        "$here/postgres.sh" stop
    fi
}

if [[ $own_postgres = yes ]]; then
    "$here/postgres.sh" start
fi
trap stop EXIT
trap 'exit 143' TERM HUP
trap 'exit 130' INT

export MLFLOW_AUTH_CONFIG_PATH=$here/basic_auth.ini
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH} # for access_rules.py
export PYTHONSAFEPATH=1                            # and nothing from the current folder;
cd "$here"                                         # uvicorn looks there all the same
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false # a queue of idle processes, for what nobody uses
export MLFLOW_SQLALCHEMYSTORE_POOL_SIZE=${MLFLOW_SQLALCHEMYSTORE_POOL_SIZE:-20}
export MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW=${MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW:-25}
find "$TEAM_HOME/metrics" -name '*.db' -delete # counters of processes that are gone
mlflow server --app-name basic-auth --host "$host" --port "$port" \
    --workers "${MLFLOW_WORKERS:-2}" \
    --artifacts-destination "$ARTIFACTS" \
    --allowed-hosts "${ALLOWED_HOSTS:-localhost:$port,127.0.0.1:$port}" \
    --cors-allowed-origins "${ALLOWED_ORIGINS:-http://localhost:$port}" \
    --expose-prometheus "$TEAM_HOME/metrics" &
server=$!

# When this shell is killed no trap runs: another one waits for its end.
(tail --pid=$$ -f /dev/null && stop) >/dev/null 2>&1 &
watcher=$!
trap 'kill -KILL -- "-$watcher" 2>/dev/null || true; stop' EXIT
wait "$server"
