# SPDX-License-Identifier: GPL-2.0
#
# The workbench's targets. Each does the set-up that it needs; scripts/setup
# tells where things are kept.

.DEFAULT_GOAL := help
.PHONY: rust-analyzer compile_commands.json
.PHONY: help setup modules tool guest check check-all kunit demo bench fuzz mutants fmt docs in-tree patches clean

# Recipes take the user's words from the environment, as they were written: make
# would take the dollar signs of a command for its own.
export GUEST_CMD = $(value CMD)
export SHARE MEM CPUS APPEND QEMU ROUNDS KVER KERNEL V OUT
export TREE = $(value KDIR)

help:
	@echo 'make demo       show it all working, in a virtual machine'
	@echo 'make check      check and test everything, on the stock kernel'
	@echo 'make check-all  and on all others; builds them first, once'
	@echo 'make kunit      build User Mode Linux with the KUnit suites, and run them'
	@echo 'make bench      compare speed and memory with other exporters; ROUNDS=5 is'
	@echo '                quicker than the 101 that each test has at most'
	@echo 'make fuzz       fuzz the model and the ABI, on the checked kernel, for SECONDS=600;'
	@echo '                SEED=n makes the choices again that it made when it printed it'
	@echo 'make mutants    change the model in one place after the other, and see that its'
	@echo '                tests notice'
	@echo 'make modules    build the modules, into build/modules'
	@echo 'make tool       build the command cenalloc, into build/tool'
	@echo "make guest CMD='...'"
	@echo '                boot the stock kernel with the modules and that command, and'
	@echo '                run CMD; without CMD a shell. Also: SHARE=directory (seen as'
	@echo "                /share), MEM=3G, CPUS=2, APPEND='kernel arguments', QEMU='arguments'"
	@echo 'make fmt        format the Rust files'
	@echo 'make rust-analyzer'
	@echo '                write rust-project.json and compile_commands.json, for editors'
	@echo 'make docs       build the papers, into build/docs'
	@echo 'make in-tree KDIR=path'
	@echo '                put it all into a tree of Linux 7.3, or say why not'
	@echo 'make patches    write the same as mails, into build/patches or OUT=directory'
	@echo 'make setup      only make the private root and the kernel tree'
	@echo 'make clean      remove build/'
	@echo
	@echo 'KVER=7.3.4 names a kernel version; CENALLOC_CACHE=directory another place'
	@echo 'for the private root (now ~/.cache/cenalloc). KERNEL=checked takes a kernel'
	@echo 'with lockdep, KASAN and other checkers instead of the stock one; it is built'
	@echo 'first. scripts/setup --update looks for newer packages, scripts/setup --prune'
	@echo 'removes what is unused.'

setup:
	@scripts/setup

modules:
	@scripts/modules

tool:
	@scripts/tool

guest:
	@scripts/modules >&2
	@scripts/tool >&2
	@scripts/guest $${SHARE:+--share "$$SHARE"} $${MEM:+--mem "$$MEM"} \
		$${CPUS:+--cpus "$$CPUS"} $${APPEND:+--append "$$APPEND"} \
		$${QEMU:+--qemu "$$QEMU"} -- $${GUEST_CMD:+"$$GUEST_CMD"}

check:
	@scripts/check

check-all:
	@scripts/check --all

kunit:
	@scripts/kunit

demo:
	@scripts/demo

bench:
	@scripts/bench $${ROUNDS:+"$$ROUNDS"}

# The kernel with checkers, unless another one is named; scripts/fuzz alone takes the stock one.
fuzz:
	@KERNEL=$${KERNEL:-checked} scripts/fuzz \
		"$${SECONDS:-600}" $${SEED:+"$$SEED"}

mutants:
	@scripts/mutants

fmt:
	@scripts/fmt

rust-analyzer compile_commands.json:
	@scripts/editor

docs:
	@scripts/docs

in-tree:
	@scripts/in-tree "$$TREE"

patches:
	@scripts/patches $${OUT:+"$$OUT"}

clean:
	rm -rf build
