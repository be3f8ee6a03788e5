# Sourced by the scripts beside it: where the server's database and artifacts are.
# shellcheck shell=bash
umask 077 # hashes of passwords, and what everybody trained: for the server's own user
: "${PGPASSWORD:?must be the password of the database; see .env.example}"
TEAM_HOME=$(realpath -m "${TEAM_HOME:-team-server}")
export TEAM_HOME
own_postgres=$([[ -n ${PGHOST:-} ]] && echo no || echo yes)
export PGHOST=${PGHOST:-127.0.0.1} PGPORT=${PGPORT:-$([[ $own_postgres = yes ]] && echo 5433 || echo 5432)}
export PGUSER=${PGUSER:-mlflow} PGDATABASE=${PGDATABASE:-mlflow}
export ARTIFACTS=${ARTIFACTS:-$TEAM_HOME/artifacts}
[[ $ARTIFACTS = *:* ]] || ARTIFACTS=$(realpath -m "$ARTIFACTS")
# In no address and on no command line stands a password: libpq reads PGHOST and its like.
export MLFLOW_BACKEND_STORE_URI=postgresql+psycopg2://
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR=false
