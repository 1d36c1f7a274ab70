#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Puts the unmodified lwIP 2.2.1 into DIR/lwip-2.2.1. Called by cmake/lwip.cmake.
#
# On Debian it comes from the archive that this machine already uses, as the
# orig tarball of the source package: apt knows the mirror, the proxy and the
# keys, also where no other host can be reached. apt gets a source list, lists
# and cache of its own below DIR, so neither root nor a change of the machine's
# configuration is needed. Elsewhere, or if that fails, upstream's tag is cloned.
# Either way what arrived is checked against what is written here.

set -eu

version=2.2.1
sha256=83729c274c499d3348e9fbbe043a3113f3fa8953e7efddc7c21c7fcbb1f2b7b1
suite=trixie
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
git_url=https://github.com/lwip-tcpip/lwip.git
git_tag=STABLE-2_2_1_RELEASE
git_commit=77dcd25a72509eb83f72b033d219b1d40cd8eb95

if [ $# -ne 1 ]; then
	echo "usage: fetch-lwip.sh DIR" >&2
	exit 2
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)
dest=$dir/lwip-$version
[ ! -e "$dest/src/core/tcp.c" ] || exit 0

tmp=$(mktemp -d "$dir/fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

say() {
	echo "fetch-lwip: $*" >&2
}

limit() {
	if command -v timeout >/dev/null; then
		timeout "$@"
	else
		shift
		"$@"
	fi
}

# The archives of Debian proper that apt is configured with, both file formats
# and mirror lists included, one URI per line, the release's own first.
debian_uris() {
	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-sid}")
	# shellcheck disable=SC2016 # the format is apt's, not the shell's
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
		'Created-By: Packages' |
		awk -v codename="$codename" '
			$3 != "main" || $1 ~ /security/ { next }
			$2 == codename { print 1, $1; next }
			$2 ~ /^(stable|testing|unstable|sid|trixie)$/ {
				print 2, $1
			}' | sort -u | cut -d' ' -f2- | awk '!seen[$0]++'
}

apt_fetch() {
	apt=$tmp/apt
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	echo "deb-src [signed-by=$keyring] $1 $suite main" >"$apt/sources.list"
	set -- -qq \
		-o Dir::Etc::sourcelist="$apt/sources.list" \
		-o Dir::Etc::sourceparts=- \
		-o Dir::State::lists="$apt/lists" \
		-o Dir::Cache="$apt/cache" \
		-o APT::Update::Error-Mode=any \
		-o APT::Update::Post-Invoke::= \
		-o Acquire::Languages=none \
		-o Acquire::Retries=2 \
		-o Acquire::http::Timeout=30 \
		-o Acquire::https::Timeout=30
	if [ "$(id -u)" -eq 0 ]; then
		set -- "$@" -o APT::Sandbox::User=root
	fi
	limit 300 apt-get "$@" update &&
		(cd "$tmp" && limit 300 apt-get "$@" source --download-only \
			--tar-only lwip >/dev/null)
}

unpack() {
	if ! echo "$sha256  $1" | sha256sum -c --status; then
		say "$1: wrong SHA-256, not used"
		return 1
	fi
	mkdir -p "$tmp/src"
	tar -xf "$1" -C "$tmp/src" --strip-components=1 --no-same-owner
}

from_debian() {
	# shellcheck source=/dev/null
	[ "$(. /etc/os-release 2>/dev/null && echo "${ID:-}")" = debian ] ||
		return 1
	command -v apt-get >/dev/null || return 1
	if [ ! -e "$keyring" ]; then
		say "$keyring is missing (install debian-archive-keyring)"
		return 1
	fi
	for uri in $(debian_uris); do
		if apt_fetch "$uri"; then
			for tar in "$tmp"/lwip_"$version"*.orig.tar.*; do
				if [ -f "$tar" ] && unpack "$tar"; then
					return 0
				fi
			done
		fi
		rm -rf "$tmp/apt" "$tmp"/lwip_*
	done
	say "the source package lwip $version ($suite) could not be had"
	return 1
}

from_upstream() {
	if ! command -v git >/dev/null; then
		say "git is missing, cannot clone $git_url (install git)"
		return 1
	fi
	say "cloning $git_url, tag $git_tag"
	rm -rf "$tmp/src"
	GIT_TERMINAL_PROMPT=0 limit 300 git -c advice.detachedHead=false \
		clone -q --depth 1 --branch "$git_tag" "$git_url" \
		"$tmp/src" || return 1
	commit=$(git -C "$tmp/src" rev-parse HEAD) || return 1
	if [ "$commit" != "$git_commit" ]; then
		say "$git_tag is commit $commit, not $git_commit: not used"
		return 1
	fi
	rm -rf "$tmp/src/.git"
}

if from_debian || from_upstream; then
	rm -rf "$dest"
	mv "$tmp/src" "$dest"
	exit 0
fi
say "lwIP $version: neither the Debian archive nor upstream could be reached" \
	"(unpack it yourself and configure with -DLWIP_DIR=DIR)"
exit 1
