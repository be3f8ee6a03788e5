#!/usr/bin/env bash
# postgres.sh start|stop: a Postgres of the team server's own, below TEAM_HOME, on loopback.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=settings.sh
source "$here/settings.sh"
data=$TEAM_HOME/postgres

bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
[[ -n $bin ]] || bin=$(dirname "$(command -v postgres || echo /missing)")
if [[ ! -x $bin/postgres ]]; then
    echo "Postgres must be installed (apt-get install postgresql), or PGHOST name a server" >&2
    exit 1
fi

as=()
if [[ $(id -u) = 0 ]]; then # Postgres refuses to run as root
    as=(setpriv --reuid=postgres --regid=postgres --init-groups --)
fi

make() {
    local password
    [[ -d $TEAM_HOME ]] || install -d -m 755 "$TEAM_HOME"
    install -d -m 700 ${as:+-o postgres -g postgres} "$data"
    password=$(mktemp)
    printf '%s' "$PGPASSWORD" >"$password"
    ${as:+chown postgres "$password"}
    "${as[@]}" "$bin/initdb" --pgdata "$data" --username "$PGUSER" --pwfile "$password" \
        --auth scram-sha-256 --encoding UTF8 --locale C.UTF-8 >/dev/null
    rm "$password"
}

cd / # of which even the user postgres may be in
case ${1:-} in
start)
    [[ -f $data/PG_VERSION ]] || make
    "${as[@]}" "$bin/pg_ctl" --pgdata "$data" --log "$data/log" --wait --silent start \
        --options "-c listen_addresses=127.0.0.1 -c port=$PGPORT -c max_connections=200 -k ''"
    if ! psql --dbname postgres --tuples-only --command "SELECT datname FROM pg_database" |
        grep -qw "$PGDATABASE"; then
        createdb "$PGDATABASE"
    fi
    ;;
stop) "${as[@]}" "$bin/pg_ctl" --pgdata "$data" --wait --silent --mode fast stop ;;
*)
    echo "usage: postgres.sh start|stop" >&2
    exit 2
    ;;
esac
