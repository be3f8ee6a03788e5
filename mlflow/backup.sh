#!/usr/bin/env bash
# backup.sh FOLDER: the database and all artifacts, in a new folder. The server may run meanwhile;
# gc.sh must not. The database goes first: the files that its rows name are all there by then.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=settings.sh
source "$here/settings.sh"
target=${1:?usage: backup.sh FOLDER}
if [[ -e $target ]]; then
    echo "error: $target must be a new folder; it is there already" >&2
    exit 1
fi

partial=$target.partial
rm -rf "$partial"
mkdir -p "$partial/artifacts"
pg_dump --format custom --file "$partial/database.dump"
python "$here/artifact_files.py" save "$partial/artifacts"

pg_restore --file /dev/null "$partial/database.dump" # reads all of it
(cd "$partial" && find database.dump artifacts -type f -exec sha256sum {} +) >"$partial/SHA256SUMS"
mv "$partial" "$target" # a folder of this name is a whole backup
echo "$target: the database and $(find "$target/artifacts" -type f | wc -l) files of artifacts"
