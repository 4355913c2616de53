# SPDX-License-Identifier: GPL-2.0
#
# The Makefile of modules out of tree that use dma_buf_constraints or cenalloc, as
# Documentation/dev-tools/building.rst explains. CENALLOC is the directory of this tree,
# given on make's command line, and MODULES the directory of its built modules.

MODULES ?= $(CENALLOC)/build/modules

# scanout_c is in C; scanout and frame are in Rust.
obj-m := scanout_c.o scanout.o frame.o

# In C: linux/cenalloc.h and linux/dma-buf-constraints.h.
ccflags-y := -I$(CENALLOC)/include

# In Rust: a line for each object, with the crates that it uses. cenalloc takes both.
RUSTFLAGS_scanout.o := -L $(MODULES)/dma_buf_constraints --extern dma_buf_constraints
RUSTFLAGS_frame.o := -L $(MODULES)/dma_buf_constraints --extern dma_buf_constraints \
	-L $(MODULES)/cenalloc --extern cenalloc

# For both: the symbols that the two modules export.
KBUILD_EXTRA_SYMBOLS := $(MODULES)/Module.symvers
