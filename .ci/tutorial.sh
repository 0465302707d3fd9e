#!/usr/bin/env bash
# Follows the README's tutorial as a newcomer does: every command of it, as
# written, in an empty folder beside a clone that is called micro.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A clone has what is committed; the commands are those of the README as it is.
git clone --quiet . "$work/micro"
awk '/^## Five minutes/ {on=1} /^## How it fits/ {on=0} /^```$/ {code=0} on && code {print} on && /^```sh$/ {code=1}' README.md > "$work/commands.sh"
(($(grep -c . "$work/commands.sh") > 50)) || { echo 'no tutorial found in README.md'; exit 1; }

cd "$work"
bash -euo pipefail commands.sh </dev/null >out 2>&1 || { cat out; exit 1; }
grep '^placed order' out || { cat out; exit 1; }
grep '^shipping a kettle of order' out || { cat out; exit 1; }
