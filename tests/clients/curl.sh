#!/bin/sh
# The requests of the documentation, as curl makes them. Prints a line each: what, status, body.
#   BASE, KEY, NUMBER and HOOK from the environment
set -eu

ask() { # NAME METHOD PATH [BODY]
    name=$1 method=$2 path=$3
    shift 3
    if [ $# -gt 0 ]; then set -- -d "$1"; fi
    answer=$(curl -sS -L -X "$method" "$BASE$path" -H "Authorization: Bearer $KEY" \
        -H "Content-Type: application/json" -w ' %{http_code}' "$@")
    printf '%s\t%s\t%s\n' "$name" "${answer##* }" "${answer% *}"
}

# until_answered CALL: the call is up.
until_answered() {
    for _ in $(seq 100); do
        case $(curl -sS "$BASE/calls/$1" -H "Authorization: Bearer $KEY") in
            *'"active":true'*'"status":"answered"'*) return ;;
        esac
        sleep 0.05
    done
    echo "call $1 is not answered" >&2
    exit 1
}

printf 'health\t%s\n' "$(curl -sS -X GET "$BASE/health" -w '\t%{http_code}' | awk -F'\t' '{print $2 "\t" $1}')"
ask me GET /api/me
placed=$(ask makecall POST /makecall "{
    \"number\": \"$NUMBER\",
    \"webhookUrl\": \"$HOOK\",
    \"callerId\": \"19172452367\",
    \"useAmd\": true,
    \"amdMode\": \"async\",
    \"voiceName\": \"en-US-Neural2-A\",
    \"ringTimeout\": 30
  }")
printf '%s\n' "$placed"
call=$(printf '%s' "$placed" | sed 's/.*"callId":"\([^"]*\)".*/\1/')
ask batchcall POST /batchcall "{\"number\":\"$NUMBER\",\"ringTimeout\":20}"
until_answered "$call"
ask voice POST /voice "{
    \"callId\":\"$call\",
    \"text\":\"Press 1 for sales, press 2 for support\",
    \"playTo\":\"bridge\"
  }"
ask play POST /play "{\"callId\":\"$call\",\"file\":\"custom/welcome\"}"
ask gather POST /gather "{\"callId\":\"$call\",\"text\":\"Enter 4 digit pin\",\"numDigits\":4,\"timeout\":12000}"
ask calls GET /calls
ask call GET "/calls/$call"
ask recordings GET /recordings
recording=$(ask recording GET "/recordings/$call")
printf '%s\n' "$recording"
file=$(printf '%s' "$recording" | sed 's/.*"filename":"\([^"]*\)".*/\1/')
ask stop POST "/recordings/$call/stop"
for what in "download /recordings/$call/download" "file /recordings/file/$file/download"; do
    found=$(curl -sS -L "$BASE${what#* }" -H "Authorization: Bearer $KEY" -o "$file" -w '%{http_code}')
    printf '%s\t%s\t"%s"\n' "${what%% *}" "$found" "$(head -c 4 "$file")"
done
ask dashboard POST /api/dashboard '{}'
ask call-logs POST /api/call-logs '{"page":1,"page_size":20,"status":"completed"}'
ask analytics POST /api/analytics '{"days":30}'
ask hangup POST /hangup "{\"callId\":\"$call\"}"
