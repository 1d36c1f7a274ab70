#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Includes go down only: platform < core < netif < relay < test, bench.
# Prints each #include "..." that goes up, or that is not written from the
# repository's root, and fails. lwIP has headers named like ours
# (netif/ethernet.h), so an include counts as ours if we have such a file.
# Also fails on a #include of ours in angle brackets, which would hide from this.

set -u
cd "${1:-$(dirname "$0")/..}" || exit 2

files=$(find platform core netif relay test bench \
	\( -name '*.c' -o -name '*.h' \) -type f 2>/dev/null | sort)
if [ -z "$files" ]; then
	echo "layers: no sources found below $PWD" >&2
	exit 1
fi

# shellcheck disable=SC2086 # our file names have no blanks
awk '
function rank(path) {
	sub(/\/.*/, "", path)
	return path in order ? order[path] : 0
}
function bad(why) {
	printf "%s:%d: %s: %s\n", FILENAME, FNR, why, $0
	status = 1
}
function ours(path, line) {
	if (!(path in have)) {
		have[path] = (getline line <path) >= 0
		close(path)
	}
	return have[path]
}
BEGIN {
	order["platform"] = 1
	order["core"] = 2
	order["netif"] = 3
	order["relay"] = 4
	order["test"] = order["bench"] = 5
}
/^[ \t]*#[ \t]*include[ \t]*["<]/ {
	quoted = $0 ~ /include[ \t]*"/
	path = $0
	sub(/^[^"<]*["<]/, "", path)
	sub(/[">].*/, "", path)
	from = FILENAME
	sub(/\/.*/, "", from)
	to = path
	sub(/\/.*/, "", to)
	seen++
	if (path ~ /(^|\/)\.\.?\//)
		bad("not written from the root")
	else if (rank(path) && ours(path)) {
		if (!quoted)
			bad("ours in angle brackets")
		if (rank(path) > rank(FILENAME))
			bad("upward include")
		else if (rank(path) == rank(FILENAME) && from != to)
			bad("include between test and bench")
	} else if (quoted && path !~ /\// && path != "lwipopts.h")
		bad("not written from the root")
}
END {
	if (!status)
		printf "%d includes, none goes up\n", seen
	exit status
}' $files
