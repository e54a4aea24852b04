# A PostgreSQL of the tests' own: in a temporary folder, on a free loopback port, stopped at exit.
# Sets `scratch` (the folder) and KAPHILA_TEST_POSTGRES. Sourced, not run.

scratch=$(mktemp -d)

cleanup() {
    if [ -f "$scratch/postgres/data/postmaster.pid" ]; then
        as_postgres "$postgres_bin/pg_ctl" -D "$scratch/postgres/data" -m immediate stop >/dev/null 2>&1 || true
    fi
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
    else
        "$@"
    fi
}

find_postgres() {
    postgres_bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
    [ -x "${postgres_bin:-}/initdb" ]
}

start_postgres() {
    find_postgres || { install_packages postgresql; find_postgres; } || die "PostgreSQL's initdb is missing"
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    chmod 755 "$scratch"
    mkdir "$scratch/postgres"
    [ "$(id -u)" = 0 ] && chown nobody:nogroup "$scratch/postgres"
    say "starting a PostgreSQL for the tests on 127.0.0.1:$port"
    as_postgres "$postgres_bin/initdb" -D "$scratch/postgres/data" -U kaphila -A trust -N --no-locale \
        -E UTF8 >"$scratch/initdb.log"
    as_postgres "$postgres_bin/pg_ctl" -D "$scratch/postgres/data" -w -l "$scratch/postgres/log" -o \
        "-p $port -k $scratch/postgres -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200" \
        start >/dev/null
    export KAPHILA_TEST_POSTGRES="postgres://kaphila@127.0.0.1:$port/postgres"
}
