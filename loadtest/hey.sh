#!/bin/sh
# The hey lines of the load tests: loadtest/hey.sh [LINE], weir at $WEIR_ADDRESS (http://127.0.0.1:8080).
# hey is a tool of this module: nothing is to be installed. It sends as fast as answers come (closed loop), so what it
# says of latencies is without what was not sent meanwhile; weir load corrects for that.
set -eu
cd "$(dirname "$0")/.."
address=${WEIR_ADDRESS:-http://127.0.0.1:8080}
photo=build/samples/china.jpg
hey() { go tool hey -t 60 "$@"; }

case ${1:-warm} in
warm) # 200 photos by 4 callers: one replica's pace
	hey -n 200 -c 4 -m POST -T image/jpeg -D "$photo" "$address/v1/models/imagenet:predict" ;;
scale) # 30 s of 16 callers: watch `weir status imagenet` beside it
	hey -z 30s -c 16 -m POST -T image/jpeg -D "$photo" "$address/v1/models/imagenet:predict" ;;
small) # the small model over JSON: what weir itself costs
	head -n 1 loadtest/scenarios/digits.jsonl > build/digits.json
	hey -n 2000 -c 8 -m POST -T application/json -D build/digits.json "$address/v1/models/digits:predict" ;;
overload) # 200 callers at once: more than the queue holds; the answers that are not 200 are 503 with Retry-After
	hey -z 20s -c 200 -m POST -T image/jpeg -D "$photo" "$address/v1/models/imagenet:predict" ;;
*)
	echo "usage: loadtest/hey.sh [warm|scale|small|overload]" >&2
	exit 2 ;;
esac
