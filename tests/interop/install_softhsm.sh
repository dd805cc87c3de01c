#!/usr/bin/env bash
# Make SoftHSM, a PKCS#11 token in software, and OpenSC's tool available, for `make interop`; say clearly when
# that cannot be.
set -euo pipefail

packages=(softhsm2 opensc)

if command -v softhsm2-util >/dev/null && command -v pkcs11-tool >/dev/null; then
	exit 0
fi
if ! command -v apt-get >/dev/null; then
	echo "interop: needs Debian's ${packages[*]}, and this system has no apt-get." >&2
	exit 3
fi
run=()
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
		echo "interop: needs root to install: apt-get install ${packages[*]}" >&2
		exit 3
	fi
	run=(sudo -n)
fi
if ! { "${run[@]}" apt-get update -qq && "${run[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >&2; then
	echo "interop: ${packages[*]} could not be installed; without them no token is tried." >&2
	exit 3
fi
