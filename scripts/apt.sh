# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Packages of any of Debian's suites through apt, signatures checked, with sources,
# lists and cache of its own: the system's stay as they are. To be sourced after
# lib.sh.

# shellcheck disable=SC2034 # for those who source this
{
	# The series of kernels that the module is made for, the one that all is about if
	# nobody says otherwise first; where they live, and move to as time goes by.
	ALL_SERIES=(7.3 7.2)
	SERIES=${SERIES:-${ALL_SERIES[0]}}
	SUITES=(trixie-backports trixie forky forky-backports sid)
	MIRROR=http://deb.debian.org/debian
	KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
}

# apt_in DIR: all of apt goes below DIR until the end of this shell.
apt_in() {
	[[ -f $KEYRING ]] || die "no $KEYRING to check signatures with" "run scripts/setup"
	APT=$(mktemp -d "$1/apt.XXXXXX")
	trap 'rm -rf "$APT"' EXIT
	mkdir -p "$APT"/{lists/partial,cache/archives/partial,get}
	APT_OPTIONS=(
		-o Dir::Etc::sourcelist="$APT/sources.list" -o Dir::Etc::sourceparts=/dev/null
		-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
		-o Dir::State::lists="$APT/lists" -o Dir::State::status=/dev/null
		-o Dir::Cache="$APT/cache" -o Dir::Cache::archives="$APT/cache/archives"
		-o Acquire::Languages=none -o Acquire::Retries=3 -o Dpkg::Use-Pty=0
		-o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false
	)
	# root's apt would hand the download to a user who cannot write here.
	((EUID)) || APT_OPTIONS+=(-o APT::Sandbox::User=root)
}

# apt_suite SUITE: what comes next is about this one; fails if it is not to be had.
apt_suite() {
	echo "deb [arch=amd64 signed-by=$KEYRING] $MIRROR $1 main" >"$APT/sources.list"
	apt-get -qq "${APT_OPTIONS[@]}" -o APT::Update::Error-Mode=any update >"$CACHE/logs/fetch-lists.log" 2>&1
}

apt_cache() { apt-cache "${APT_OPTIONS[@]}" "$@"; }

# apt_download PACKAGE...: into $APT/get
apt_download() { cd "$APT/get" && apt-get -qq "${APT_OPTIONS[@]}" download "$@"; }
