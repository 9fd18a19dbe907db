# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The tools that scripts/setup installs, and how kbuild is told of them. To be
# sourced after lib.sh. A variable that the caller has set always wins.

VIRTME_NG_VERSION=1.42 # the one that scripts/vm is written for
BINDGEN_VERSION=0.72.1 # built when the distribution's is older than BINDGEN_MIN
BINDGEN_MIN=0.71.1     # scripts/min-tool-version.sh of Linux 7.3

toolchain_virtme_run() { echo "${VIRTME_RUN:-$CACHE/virtme-ng-$VIRTME_NG_VERSION/bin/virtme-run}"; }

# version_ge A B: A is at least B
version_ge() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) = "$2" ]]; }

toolchain_bindgen() {
	local v
	if [[ -n ${BINDGEN:-} ]]; then
		echo "$BINDGEN"
	elif [[ -x /usr/bin/bindgen ]] && v=$(/usr/bin/bindgen --version) && version_ge "${v##* }" "$BINDGEN_MIN"; then
		echo /usr/bin/bindgen
	else
		echo "$CACHE/bindgen-$BINDGEN_VERSION/bin/bindgen"
	fi
}

# The suffix of the newest complete LLVM: "-19" of clang-19, or 1 for plain clang.
toolchain_llvm() {
	local clang n
	while read -r clang; do
		n=${clang##*-}
		if [[ -x /usr/bin/ld.lld-$n && -x /usr/bin/llvm-ar-$n ]]; then
			echo "-$n"
			return
		fi
	done < <(compgen -G '/usr/bin/clang-[0-9]*' | sort -rV)
	echo 1
}

# toolchain_vars [KDIR [ARCH]]: fills the array MAKE_VARS. A KDIR that somebody else
# has built says itself which compilers it needs, and for which ARCH.
toolchain_vars() {
	local conf=${1:+$1/include/config/auto.conf} arch=${2:-} rustc=/usr/bin/rustc llvm bin n
	MAKE_VARS=()
	if [[ -n $conf && -f $conf ]]; then
		if grep -q '^CONFIG_CC_IS_CLANG=y' "$conf"; then
			n=$(sed -n 's/^CONFIG_CLANG_VERSION=\([0-9]*\)[0-9]\{4\}$/\1/p' "$conf")
			llvm=1
			[[ ! -x /usr/bin/clang-$n ]] || llvm=-$n
		else
			llvm=
		fi
		# The one whose words are in the configuration: another rustc cannot
		# read its metadata.
		n=$(sed -n 's/^CONFIG_RUSTC_VERSION_TEXT="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$conf")
		for bin in /usr/bin "${CARGO_HOME:-$HOME/.cargo}/bin"; do
			[[ ! -x $bin/rustc || $("$bin/rustc" --version) != "$n" ]] || { rustc=$bin/rustc; break; }
		done
	else
		llvm=$(toolchain_llvm)
	fi
	if [[ -n $conf && -f $conf ]] && grep -q '^CONFIG_ARM64=y' "$conf"; then arch=arm64; fi
	[[ $arch != arm64 ]] || MAKE_VARS+=(ARCH=arm64)
	[[ -z ${LLVM-$llvm} ]] || MAKE_VARS+=("LLVM=${LLVM-$llvm}")
	bin=${rustc%/*}
	MAKE_VARS+=("RUSTC=${RUSTC:-$rustc}" "RUSTDOC=${RUSTDOC:-$bin/rustdoc}"
		"RUSTFMT=${RUSTFMT:-$bin/rustfmt}" "CLIPPY_DRIVER=${CLIPPY_DRIVER:-$bin/clippy-driver}"
		"BINDGEN=$(toolchain_bindgen)")
	# bindgen must read C with the clang that compiles it.
	if [[ -z ${LIBCLANG_PATH:-} && -d /usr/lib/llvm${llvm}/lib ]]; then
		export LIBCLANG_PATH=/usr/lib/llvm${llvm}/lib
	fi
}

# What builds programs for arm64, against the libraries of the guest's Debian.
arm64_gcc() { echo "aarch64-linux-gnu-gcc --sysroot=$("$REPO/scripts/debian/userland" --guest arm64 trixie)"; }

# One line that changes when the tools do.
toolchain_id() {
	local clang=clang llvm
	llvm=$(toolchain_llvm)
	[[ $llvm = 1 ]] || clang=clang$llvm
	echo "$("/usr/bin/$clang" --version 2>/dev/null | head -n 1); $(/usr/bin/rustc --version 2>/dev/null); $("$(toolchain_bindgen)" --version 2>/dev/null)"
}
