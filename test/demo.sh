#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What lwrelay does, shown on this machine without the internet: a server in a
# network namespace of its own, a program that has no network but lwrelay's.
#
#   sh test/demo.sh [BUILD]     BUILD: the build directory, or the program itself
#
# Two namespaces without names, held by a sleeping process each, are joined by a
# veth: R, where the relay stands, and S, where the servers stand. All of it is
# gone when those two processes are.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
lwrelay=${1:-$here/../build/release}
[ ! -d "$lwrelay" ] || lwrelay=$lwrelay/lwrelay
demo=$here/lib/demo.py
server=198.51.100.2
size=1073741824
export PYTHONDONTWRITEBYTECODE=1

fail() {
	echo "demo: $*" >&2
	exit 1
}

[ -x "$lwrelay" ] || fail "no program at $lwrelay (./dev build makes it)"
for tool in ip unshare nsenter curl python3; do
	command -v $tool >/dev/null || fail "$tool is missing"
done
[ -e /dev/net/tun ] || fail "/dev/net/tun is missing (modprobe tun)"

# An ordinary user becomes root of namespaces of its own.
if [ "$(id -u)" -ne 0 ] && [ -z "${LWR_DEMO_INNER:-}" ]; then
	export LWR_DEMO_INNER=1
	exec unshare --map-root-user --net --mount sh "$0" "$@"
fi

work=$(mktemp -d)
held=

clean_up() {
	status=$?
	trap - EXIT
	# shellcheck disable=SC2086 # a list of our own processes
	[ -z "$held" ] || kill $held 2>/dev/null || :
	rm -rf "$work"
	exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- the two namespaces ------------------------------------------------------

# Starts a process that holds a new network namespace; its pid in $new.
new_namespace() {
	unshare --net sleep 300 &
	new=$!
	held="$held $new"
	tries=0
	own=$(readlink /proc/self/ns/net)
	while [ "$(readlink "/proc/$new/ns/net")" = "$own" ]; do
		tries=$((tries + 1))
		[ $tries -lt 200 ] || fail "cannot make a network namespace"
		sleep 0.02
	done
}

in_r() { nsenter --net="/proc/$r/ns/net" "$@"; }
in_s() { nsenter --net="/proc/$s/ns/net" "$@"; }

# Same rules for both sides: the host's default may be BBR, which halves all.
use_cubic() {
	"$1" ip route change "$2" dev "$3" proto kernel scope link \
		src "$4" congctl cubic 2>/dev/null || :
}

new_namespace
r=$new
new_namespace
s=$new
in_r ip link add up0 type veth peer name dn0 netns "$s"
in_r ip addr add 198.51.100.1/24 dev up0
in_r ip addr add 2001:db8::1/64 dev up0 nodad
in_r ip link set up0 up
in_s ip addr add $server/24 dev dn0
in_s ip addr add 2001:db8::2/64 dev dn0 nodad
in_s ip link set dn0 up
in_r ip link set lo up
in_s ip link set lo up
use_cubic in_r 198.51.100.0/24 up0 198.51.100.1
use_cubic in_s 198.51.100.0/24 dn0 $server

# not by in_s: $! must be the server itself
nsenter --net="/proc/$s/ns/net" python3 "$demo" serve $server >"$work/ports" &
held="$held $!"
tries=0
until [ -s "$work/ports" ]; do
	tries=$((tries + 1))
	[ $tries -lt 250 ] || fail "the servers did not start"
	sleep 0.02
done
read -r web bulk echo names <"$work/ports"

# --- the jobs ----------------------------------------------------------------

# A command behind the relay, in R. Counters go to a file for each run.
behind() {
	in_r timeout 60 "$lwrelay" run --dns "$server:$names" \
		--stats "$(mktemp "$work/stats.XXXXXX")" -- "$@"
}

line() { printf '  %-25s %s\n' "$1" "$2"; }

"$lwrelay" --version
echo
echo "A server in one network namespace, and programs in another that has no"
echo "network but lwrelay's. The same transfers without a relay, over the veth"
echo "between the two, stand beside."
echo

seen=$(behind ip -br addr show eth0) || fail "no network: $seen"
line "its only interface" "$(echo "$seen" | awk '{ print $1, $3, $4 }')"

seen=$(behind curl -sSf -o "$work/page" -w \
	"www.example.test is %{remote_ip}, after %{time_namelookup} s" \
	"http://www.example.test:$web/") || fail "no page: $seen"
line "a name" "$seen"
line "a page" "$(cat "$work/page")"

# curl returns 7 for a connect that fails.
status=0
seen=$(behind curl -sv "http://$server:1/" 2>&1) || status=$?
[ $status -eq 7 ] || fail "a closed port: curl returned $status: $seen"
line "a closed port" "$(echo "$seen" | sed -n 's/.*failed: //p' | head -n 1)"
echo

for way in down up; do
	with=$(behind python3 "$demo" speed $server "$bulk" $way $size) ||
		fail "the transfer failed"
	without=$(in_r python3 "$demo" speed $server "$bulk" $way $size) ||
		fail "the transfer without a relay failed"
	hash=$(behind python3 "$demo" proof $server "$bulk" $way $size) ||
		fail "hashes at both ends: $hash"
	line "1 GiB $way, MTU 1500" \
		"$with Gbit/s (without a relay $without), SHA-256 $hash..."
done

opened=$(behind python3 "$demo" many $server "$echo" 1000) ||
	fail "1,000 connections: $opened"
# shellcheck disable=SC2086
set -- $opened
line "connections at once" "$1 opened in $2 ms, each echoed within $3 ms"
echo

python3 - "$work"/stats.* <<-'END'
	import collections, json, sys
	total = collections.Counter()
	for path in sys.argv[1:]:
	    with open(path) as file:
	        total.update(json.load(file))
	print("  the relay's counters (of all %d runs; those not listed are 0)"
	      % len(sys.argv[1:]))
	for name, value in total.items():
	    if value and not name.endswith(("_live", "_pending")):
	        print("    {:<23} {:>15,}".format(name, value))
	END

# --- the world ---------------------------------------------------------------

# A default route is all that is looked at: the demo itself stays on this machine.
echo
if [ -n "$(ip route show default)" ]; then
	echo "This machine has a way out. If it leads to the internet, try:"
else
	echo "On a machine with internet, try:"
fi
echo
echo "  $lwrelay run -- curl -sSI https://example.org/"
