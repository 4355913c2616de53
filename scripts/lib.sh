# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the workbench's scripts share: names of places, messages, the namespace
# in which the private root is used. Sourced, never run.

set -euo pipefail
umask 022

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
CACHE=${CENALLOC_CACHE:-${HOME:?set HOME or CENALLOC_CACHE}/.cache/cenalloc}
export BUILD=$REPO/build

say() { printf '%s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Which root and which kernel this clone uses: a change of the package list names
# another root. To be counted up when setup makes roots or kernels differently.
SETUP_FORMAT=1
SETUP_ID=$({ echo $SETUP_FORMAT; cat "$REPO/scripts/packages"; } | sha256sum | cut -c1-12)
STATE=$CACHE/state-$SETUP_ID-${KVER:-default}

# Reads ROOT, KREL (the kernel's release), KDIR (its prepared source) and KIMAGE
# (the unpacked stock image) as scripts/setup recorded them.
load_state() {
	[ -e "$STATE" ] || return 1
	# shellcheck disable=SC1090
	. "$STATE"
	[ -d "$ROOT" ] && [ -d "$KDIR" ] && [ -d "$KIMAGE" ]
}

# KERNEL names a kernel of scripts/kernels that is used instead of the stock one.
# Scripts that build for one or boot it take it as their first argument, too.
if [ "${1:-}" = --kernel ] && [ $# -gt 1 ]; then
	KERNEL=$2
	shift 2
fi
export KERNEL=${KERNEL:-}
export MODULES=$BUILD/modules${KERNEL:+-$KERNEL}

# Sets KPLACE: where the kernel KERNEL is, or will be when scripts/kernel has made
# it; the name tells everything that it is made of. And KARCH, its architecture, and
# KMAKE, what make is to be told for it. To be called after load_state.
KERNEL_FORMAT=1
kernel_place() {
	local config=$REPO/scripts/kernels/$KERNEL.config stock=${KDIR%/src} id

	[ -e "$config" ] || die "there is no kernel $KERNEL in scripts/kernels"
	id=$({ echo "$KERNEL_FORMAT $KVERSION ${stock##*/}"
		cat "$config" "$REPO"/scripts/series/core/*.patch; } | sha256sum)
	KPLACE=$CACHE/linux-${KREL%%[+-]*}-$KERNEL-${id:0:12}
	KARCH=x86 KMAKE=(CC=clang)
	if grep -qx CONFIG_ARM64=y "$config"; then
		KARCH=arm64 KMAKE=(ARCH=arm64 LLVM=1)
	fi
	# Debian's, with the compiler that built it.
	[ "$KERNEL" != stock-arm64 ] ||
		KMAKE=(ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- CC=aarch64-linux-gnu-gcc-14)
}

# Reads KREL, KDIR and KIMAGE of the kernel in use, and sets KARCH and KMAKE. To be
# called after load_state; fails if scripts/kernel has not made that kernel yet.
# shellcheck disable=SC2034	# KMAKE: used by the scripts that source this
load_kernel() {
	if [ -z "$KERNEL" ]; then
		KARCH=x86 KMAKE=(CC=x86_64-linux-gnu-gcc-14)
	else
		[ -n "${KPLACE:-}" ] || kernel_place
		[ -e "$KPLACE/state" ] || return 1
		# shellcheck disable=SC1091
		. "$KPLACE/state"
	fi
}

# Runs the rest of a script inside the private root; to be called with the
# script's own arguments before anything else happens.
need_root() {
	if [ -z "${CENALLOC_IN_ROOT:-}" ]; then
		exec "$REPO/scripts/in-root" ${IN_ROOT_OPTIONS[@]+"${IN_ROOT_OPTIONS[@]}"} \
			"$REPO/scripts/${0##*/}" "$@"
	fi
	load_state || die "no usable root in $CACHE: run scripts/setup"
	load_kernel || die "no kernel in $KPLACE: run scripts/kernel $KERNEL"
	export KREL KDIR KIMAGE KARCH
}

# fetch PACKAGE=VERSION: leaves the package in the cache, prints its file name. The
# script that sources this says with apt_get() how that runs in / or in archives.
fetch() {
	local archives=$CACHE/debs/archives name sum

	read -r name sum < <(apt_get / download --print-uris "$1" |
		awk '{ print $2, $4 }') || die "the archive does not hold $1"
	sum=${sum#SHA256:}
	if ! echo "$sum  $archives/$name" | sha256sum --status -c 2>/dev/null; then
		say "-- fetching ${name%%_*}"
		apt_get archives download "$1" >&2
	fi
	echo "$archives/$name"
}

# The command that starts another one in a mount namespace of its own, as root
# of that namespace: NS. An ordinary user becomes root of a user namespace.
# shellcheck disable=SC2034	# used by the scripts that source this
set_ns() {
	if [ "$(id -u)" = 0 ]; then
		NS=(unshare --mount --propagation private --)
	else
		NS=(unshare --user --map-root-user --map-auto
			--mount --propagation private --)
	fi
}

# Directories that a guest is given must be visible in the private root.
guest_binds() {
	local dir

	IN_ROOT_OPTIONS=()
	while [ $# -gt 1 ]; do
		case $1 in
		--share | --payload)
			dir=$(cd "$2" && pwd -P) || die "no directory $2"
			IN_ROOT_OPTIONS+=(--bind "$dir")
			;;
		--) break ;;
		esac
		shift
	done
}
