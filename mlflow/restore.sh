#!/usr/bin/env bash
# restore.sh FOLDER: put a backup into an empty database and an empty place for artifacts, while
# the server is not running. With a Postgres of its own: postgres.sh start, before.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=settings.sh
source "$here/settings.sh"
backup=$(realpath "${1:?usage: restore.sh FOLDER}")

(cd "$backup" && sha256sum --check --quiet SHA256SUMS)
tables=$(psql --tuples-only --no-align \
    --command "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'")
if [[ $tables != 0 ]]; then
    echo "error: the database $PGDATABASE at $PGHOST:$PGPORT must be empty, it has $tables tables" >&2
    exit 1
fi

# Files first: no row of the database ever names one that is not there.
python "$here/artifact_files.py" restore "$backup/artifacts"
pg_restore --dbname "$PGDATABASE" --no-owner --exit-on-error --single-transaction \
    "$backup/database.dump"
echo "restored from $backup"
