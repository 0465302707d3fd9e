#!/usr/bin/env bash
# Runs every fuzz target of the module for a while each: .ci/fuzz.sh [5s]
set -euo pipefail
cd "$(dirname "$0")/.."
duration=${1-5s}
targets=$(git ls-files --cached --others --exclude-standard '*_test.go' | xargs -r grep -o '^func Fuzz[A-Za-z0-9_]*' /dev/null || true)
while IFS=: read -r file name; do
  [[ -n $name ]] || continue
  name=${name#func }
  echo "$(dirname "$file") $name"
  go test -run '^$' -fuzz "^$name\$" -fuzztime "$duration" "./$(dirname "$file")"
done <<< "$targets"
