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

# progress WHAT [TOTAL [UNIT]]: reads what a long step says, and shows how far it is: each
# second in one line of a terminal, every ten in a log. It counts the lines of Kbuild, of
# cargo or of apt; "-- WHAT [(TOTAL UNIT)]" begins another step. What comes after a line that
# says WARNING or setup: is shown as it is.
progress() {
	local what=$1 total=${2:-0} unit=${3:-files} count=0 fetched=0 to_fetch=0 packages=0
	local began=$SECONDS shown=$SECONDS every=10 line status

	[ ! -t 2 ] || every=1
	progress_show begin
	while status=0; IFS= read -r -t "$every" line || status=$?; [ $status != 1 ]; do
		[ $status = 0 ] || line=
		case $line in
		'-- '*)
			progress_show end
			[[ $line =~ ^--\ ([^\(]*)(\((about )?([0-9]+)\ (.*)\))?$ ]]
			what=${BASH_REMATCH[1]% } total=${BASH_REMATCH[4]:-0}
			unit=${BASH_REMATCH[5]:-files} count=0 fetched=0 to_fetch=0 packages=0
			began=$SECONDS
			progress_show begin
			;;
		'Kernel '* | 'WARNING: this'* | setup:*) progress_show end; say "$line" ;;
		'  '[A-Z]* | '   Compiling '* | 'Unpacking '* | 'Setting up '* | 'tar: MB'*) count=$((count + 1)) ;;
		'Need to get '*' of archives.') to_fetch=$(kilobytes "${line#Need to get }") ;;
		Get:*']') fetched=$((fetched + $(kilobytes "${line##*[}"))) ;;
		*' newly installed, '*)
			line=${line% newly installed*}
			packages=${line##* }
			;;
		esac
		if [ $((SECONDS - shown)) -ge $every ]; then
			progress_show
		fi
	done
	progress_show end
}

# progress_show [begin | end]: for progress(), whose variables it reads. A log is not told
# of what ended within ten seconds.
progress_show() {
	local text="$what" gone=$((SECONDS - began))

	[ -n "$what" ] || return 0
	if [ "$to_fetch" != 0 ] && [ "$count" = 0 ]; then
		text+=": $((fetched / 1000)) of $((to_fetch / 1000)) MB fetched"
	elif [ "$packages" != 0 ] && [ "$count" != 0 ]; then
		text+=": $count of $((packages * 2)) unpacked or set up"
	elif [ "$count" != 0 ]; then
		text+=": $count"
		[ "$total" = 0 ] || text+=" of about $((count > total ? count : total))"
		text+=" $unit"
	fi
	[ $gone -lt 2 ] || text+=", $((gone / 60)):$(printf %02d $((gone % 60)))"
	shown=$SECONDS
	if [ -t 2 ]; then
		printf '\r\033[K%s' "${text:0:$((${COLUMNS:-80} - 1))}" >&2
		[ "${1:-}" != end ] || echo >&2
	elif [ "${1:-}" != end ] || [ $gone -ge 10 ]; then
		say "$text"
	fi
}

# quietly LOG WHAT TOTAL COMMAND...: runs a command whose output goes to a log, and shows how
# far it is. If it fails, so does the script.
quietly() {
	local log=$1 what=$2 total=$3
	shift 3
	"$@" 2>&1 | tee "$log" | progress "$what" "$total" ||
		{ cat "$log" >&2; die "$what failed"; }
}

# kilobytes "1,234 kB ...": as apt writes sizes.
kilobytes() {
	local number=${1%% *} unit=${1#* }

	number=${number%/*} number=${number//,/}
	case $unit in
	MB*) awk "BEGIN { print int($number * 1000) }" ;;
	kB*) echo "${number%.*}" ;;
	*) echo 0 ;;
	esac
}

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
