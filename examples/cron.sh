#!/bin/sh
# Computes a day with kpid and waits until it is published. Needs curl, and nothing else.
#
#   10 3 * * *  KPID_URL=http://kpid:8080 KPID_TOKEN=... /opt/kpid/cron.sh     the day that ended at midnight
#   cron.sh 2025-03-15                                                        another day
#
#   KPID_URL            where the service is (http://localhost:8080)
#   KPID_TOKEN          a key of role `run`; not needed where the service has none
#   KPID_TIMEZONE       the KPI_TIMEZONE of the service, which says when a day ends (UTC)
#   KPID_RETRY_SECONDS  how long to go on while the service does not answer (600)
#
# It may be started as often as one likes, also twice at once: all of them wait for the one run of the day. A day that has
# failed is tried again, a day that has succeeded is left alone.
#
# Exit: 0 the day is published; 1 its run has failed or kpid refused the request, and stderr says why and what to do; 64 wrong
# usage; 75 kpid did not answer: start it again later.
set -u

url=${KPID_URL:-http://localhost:8080}
url=${url%/}
zone=${KPID_TIMEZONE:-UTC}
patience=${KPID_RETRY_SECONDS:-600}

# In the ways of GNU, BSD and busybox.
yesterday() {
  TZ=$zone date -d yesterday +%Y-%m-%d 2>/dev/null || TZ=$zone date -v-1d +%Y-%m-%d 2>/dev/null ||
    TZ=$zone date -d "@$(($(date +%s) - 86400))" +%Y-%m-%d
}

usage() {
  echo "usage: cron.sh [YYYY-MM-DD]" >&2
  exit 64
}

[ $# -le 1 ] || usage
date=${1:-$(yesterday)}
case $date in
  [0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]) ;;
  *) usage ;;
esac

answer=$(mktemp -d) || exit 75
trap 'rm -rf "$answer"' EXIT
trap 'exit 75' HUP INT TERM

# The key goes to curl through a pipe: a list of processes shows arguments to everyone.
credentials() {
  if [ -n "${KPID_TOKEN:-}" ]; then printf 'Authorization: Bearer %s\n' "$KPID_TOKEN"; fi
}

# request CURL-ARGUMENTS: leaves the status in $status and the body in $answer/body. Repeats the request while there is no
# answer or one that says "later": every request of this script can be repeated without harm.
request() {
  give_up=$(($(date +%s) + patience))
  delay=1
  while :; do
    status=$(credentials | curl -sS -H @- --connect-timeout 10 --max-time 90 -D "$answer/head" -o "$answer/body" \
      -w '%{http_code}' "$@" 2>"$answer/error") || status=000
    case $status in
      000 | 429 | 500 | 502 | 503 | 504) ;;
      *) return ;;
    esac
    wanted=$(sed -n 's/^[Rr][Ee][Tt][Rr][Yy]-[Aa][Ff][Tt][Ee][Rr]: *\([1-9][0-9]\{0,3\}\).*/\1/p' "$answer/head" 2>/dev/null)
    [ "$(($(date +%s) + ${wanted:-$delay}))" -le "$give_up" ] || unanswered
    sleep "${wanted:-$delay}"
    delay=$((delay < 30 ? delay * 2 : 30))
    : >"$answer/head"
  done
}

# field NAME FILE: the text of a member of a JSON object on one line.
field() {
  sed -n -E 's/.*"'"$1"'":"(([^"\\]|\\.)*)".*/\1/p' "$2" | sed 's/\\\(["\\/]\)/\1/g'
}

unanswered() {
  if [ "$status" = 000 ]; then reason=$(cat "$answer/error"); else reason="$status $(field detail "$answer/body" 2>/dev/null)"; fi
  echo "kpid: $date: no answer from $url for $patience seconds: $reason" >&2
  exit 75
}

# The message of the last answer and, when it is about a run, the hint of that run's last error.
failed() {
  detail=$(field detail "$answer/body")
  echo "kpid: $date: ${detail:-$url answered with status $status}" >&2
  if [ $# -gt 0 ]; then
    request -H 'Accept: application/x-ndjson' "$url/runs/$1/logs?level=error"
    tail -n 1 "$answer/body" >"$answer/last"
    hint=$(field hint "$answer/last")
    [ -z "$hint" ] || echo "hint: $hint" >&2
    echo "log: $url/runs/$1/logs" >&2
  fi
  exit 1
}

# Leaves the run of the day in $id, whether it is new or not.
start() {
  request -H "Idempotency-Key: cron-$date" -d "date=$date" -d on_finished=retry_failed "$url/runs"
  case $status in
    200 | 202) id=$(sed -n 's/^{"id":"\([0-9a-f-]*\)".*/\1/p' "$answer/body") ;;
    *) failed ;;
  esac
}

start
starts=1
while :; do
  request "$url/runs/$id?wait=50&expect=succeeded"
  case $status-$starts in
    200-*)
      if grep -q '"terminal":true' "$answer/body"; then break; fi
      sleep 1 # a service that is about to stop answers at once
      ;;
    404-[123]) # the service has come back with an empty disk
      start
      starts=$((starts + 1))
      ;;
    *) failed "$id" ;;
  esac
done
echo "kpid: $date: published by run $id"
