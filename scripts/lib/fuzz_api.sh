# The API under a fuzzer that reads its OpenAPI document (schemathesis), for a bounded time: no answer
# may be a 5xx or one that the document does not have. Sourced by scripts/test, after `scratch` is set.

SCHEMATHESIS=4.32.5

# fuzz_api SECONDS: exit status 1 where something was found.
fuzz_api() {
    local seconds=$1 venv="$HOME/.cache/kaphila/venv" folder="$scratch/fuzz" port admin sip phone key kaphila
    kaphila="${KAPHILA_BINARY:-$CARGO_TARGET_DIR/debug/kaphila}"
    if ! "$venv/bin/st" --version 2>/dev/null | grep -qF "$SCHEMATHESIS"; then
        say "installing schemathesis $SCHEMATHESIS"
        python3 -m venv "$venv" 2>/dev/null || { install_packages python3-venv; python3 -m venv "$venv"; }
        "$venv/bin/pip" install --quiet "schemathesis==$SCHEMATHESIS"
    fi
    read -r port admin sip phone <<<"$(python3 - <<'PY'
import socket
tcp = [socket.socket() for _ in range(2)]
udp = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)]
for it in tcp + udp:
    it.bind(("127.0.0.1", 0))
print(*(it.getsockname()[1] for it in tcp + udp))
PY
)"
    mkdir -p "$folder"
    export KAPHILA_CONFIG="$folder/kaphila.toml" KAPHILA_HTTP_LISTEN="127.0.0.1:$port" \
        KAPHILA_ADMIN_LISTEN="127.0.0.1:$admin" KAPHILA_SIP_UDP="127.0.0.1:$sip" \
        KAPHILA_WEBHOOKS_ALLOW_HTTP=true KAPHILA_WEBHOOKS_ALLOW_PRIVATE=true KAPHILA_LOG_LEVEL=warn
    "$kaphila" init --dir "$folder" >/dev/null
    "$kaphila" trunk add phone --uri "sip:127.0.0.1:$phone" >/dev/null
    key=$("$kaphila" key create --name fuzz --credits 1000000 --rate-limit 100000000 --trunk phone --json |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["key"])')
    "$kaphila" phone --listen "127.0.0.1:$phone" --hangup-after 5s >"$folder/phone.log" 2>&1 &
    local phone_pid=$!
    "$kaphila" serve >"$folder/serve.out" 2>"$folder/serve.log" &
    local serve_pid=$!
    for _ in $(seq 200); do grep -q '^kaphila: ready' "$folder/serve.out" && break; sleep 0.05; done
    local found=0
    # One worker: with several, Python 3.11's `ast.parse` breaks under it.
    local hooks="$PWD/scripts/lib/fuzz_hooks.py"
    (cd "$folder" && FUZZ_URL="http://127.0.0.1:$port" FUZZ_KEY="$key" SCHEMATHESIS_HOOKS="$hooks" \
        "$venv/bin/st" run "http://127.0.0.1:$port/openapi.json" --no-color \
        --header "Authorization: Bearer $key" --phases examples,coverage,fuzzing,stateful --max-examples 100000 \
        --max-time "$seconds" --generation-database none --continue-on-failure \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,ignored_auth,unsupported_method) \
        >"$folder/report" 2>&1 || found=1
    kill "$serve_pid" "$phone_pid" 2>/dev/null || true
    wait "$serve_pid" "$phone_pid" 2>/dev/null || true
    [ "$found" = 0 ] || cat "$folder/report"
    grep -E '^  [0-9]+ generated|^Seed' "$folder/report" || true
    if grep -E '"level":"ERROR"|panicked' "$folder/serve.log"; then found=1; fi
    return "$found"
}
