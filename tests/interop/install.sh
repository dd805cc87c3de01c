#!/usr/bin/env bash
# Make what `make interop` compares with available, from Debian's packages; say clearly when that cannot be:
# Go with its golang.org/x/mod, and SoftHSM, a PKCS#11 token in software, with OpenSC's tool.
set -euo pipefail

packages=(golang-go golang-golang-x-mod-dev softhsm2 opensc)
sources=/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog

there() { command -v "$1" >/dev/null; }
if there go && [ -d "$sources" ] && there softhsm2-util && there pkcs11-tool; then
	exit 0
fi
if ! there apt-get; then
	echo "interop: needs Debian's ${packages[*]}, and this system has no apt-get." >&2
	exit 3
fi
run=()
if [ "$(id -u)" != 0 ]; then
	if ! there sudo || ! sudo -n true 2>/dev/null; then
		echo "interop: needs root to install: apt-get install ${packages[*]}" >&2
		exit 3
	fi
	run=(sudo -n)
fi
if ! { "${run[@]}" apt-get update -qq && "${run[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >&2; then
	echo "interop: ${packages[*]} could not be installed; without them nothing can be compared." >&2
	exit 3
fi
