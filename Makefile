# SPDX-License-Identifier: GPL-2.0
#
# Two readers. Kbuild reads the first half, in a kernel tree or with M= against
# a prepared one. Somebody at a shell prompt gets the second half: the
# workbench, whose targets `make help` lists.

ifneq ($(KERNELRELEASE),)

# Every module is built from this one file, so that a crate that uses another
# can name its metadata as an ordinary prerequisite: Kbuild itself has no notion
# of dependencies between crates.

ifneq ($(KBUILD_EXTMOD),)
# Out of tree there is no .config of ours: everything is a module, and the
# headers stand here instead of in the kernel's include/.
CONFIG_DMA_BUF_CONSTRAINTS := m
CONFIG_CENALLOC := m
CONFIG_SAMPLE_CENALLOC := m
CONFIG_SAMPLE_CENALLOC_BUGS := $(if $(CONFIG_KASAN),m)
ccflags-y += -I$(src)/include -I$(src)/include/uapi
endif

# Whether this kernel has the core series, with which devices and all dma-bufs
# have masks of memory classes.
has-access-constraints := $(shell grep -qs access_constraints_mask \
	$(srctree)/include/linux/dma-buf.h && echo y)
ifeq ($(has-access-constraints),y)
ccflags-y += -DDMA_BUF_HAS_ACCESS_CONSTRAINTS
rustflags-y += --cfg dma_buf_has_access_constraints
endif

# --- Crates across modules ---------------------------------------------------
# A library module emits its crate's metadata beside its object, and exports its
# Rust symbols and its C API from a generated C file: EXPORT_SYMBOL is C. The
# type of a symbol does not matter there.

quiet_cmd_rust_exports = EXPORTS $@
      cmd_rust_exports = \
	{ echo '\#include <linux/export.h>'; $(NM) -p --defined-only $< | awk ' \
		$$2 ~ /(T|R|D|B)/ && $$3 ~ /^(_R|$(rust-exports-c-api))/ && \
		$$3 !~ /_(init|cleanup)_module$$/ && \
		$$3 !~ /__(pfx|cfi|odr_asan)/ { \
			printf "extern int %s;\nEXPORT_SYMBOL_GPL(%s);\n", $$3, $$3 \
		}'; } > $@

# --- bindgen, for what kernel::bindings lacks --------------------------------
# Only our own items are generated: the types they use come from kernel::bindings,
# so that both mix. The kernel's own filter of GCC options that clang does not know is
# private to rust/Makefile; it is read from there.
bindgen-skip-c-flags := $(if $(CONFIG_CC_IS_GCC),$(shell sed -n \
	'/^bindgen_skip_c_flags :=/,/[^\\]$$/{s/^bindgen_skip_c_flags :=//;s/\\$$//;p}' \
	$(srctree)/rust/Makefile))
bindgen-target-x86 := x86_64-linux-gnu
bindgen-target-arm64 := aarch64-linux-gnu
bindgen-c-flags = $(filter-out $(bindgen-skip-c-flags) $(CC_FLAGS_LTO), $(c_flags)) \
	-w --target=$(bindgen-target-$(SRCARCH)) -fno-builtin -D__BINDGEN__ -DMODULE

quiet_cmd_rust_bindings = BINDGEN $@
      cmd_rust_bindings = \
	$(BINDGEN) $< --rust-target 1.85 --use-core --ctypes-prefix ffi \
		--no-layout-tests --no-debug '.*' --enable-function-attribute-detection \
		--default-enum-style consts --no-prepend-enum-name --no-recursive-allowlist \
		--allowlist-item '$(bindgen-items)' -o $@ -- $(bindgen-c-flags)

# --- dma_buf_constraints: what devices need, and dma-buf in safe Rust ---------
obj-$(CONFIG_DMA_BUF_CONSTRAINTS) += dma_buf_constraints.o
dma_buf_constraints-y := \
	dma_buf_constraints/dma_buf_constraints.o \
	dma_buf_constraints/helpers.o \
	dma_buf_constraints/exports_generated.o

RUSTFLAGS_dma_buf_constraints/dma_buf_constraints.o += \
	--env-set DMA_BUF_CONSTRAINTS_OBJ=$(abspath $(obj)/dma_buf_constraints) \
	--emit=metadata=$(obj)/dma_buf_constraints/libdma_buf_constraints.rmeta

$(obj)/dma_buf_constraints/bindings_generated.rs: private bindgen-items := \
	dbc_.*|dma_buf_con(straints|flict).*|DMA_BUF_CON(STRAINTS|FLICT)_.*
$(obj)/dma_buf_constraints/bindings_generated.rs: $(src)/dma_buf_constraints/helpers.h FORCE
	$(call if_changed_dep,rust_bindings)
$(obj)/dma_buf_constraints/dma_buf_constraints.o: $(obj)/dma_buf_constraints/bindings_generated.rs

$(obj)/dma_buf_constraints/exports_generated.c: private rust-exports-c-api := dma_buf_con
$(obj)/dma_buf_constraints/exports_generated.c: $(obj)/dma_buf_constraints/dma_buf_constraints.o FORCE
	$(call if_changed,rust_exports)

targets += dma_buf_constraints/bindings_generated.rs dma_buf_constraints/exports_generated.c
clean-files += dma_buf_constraints/libdma_buf_constraints.rmeta

# For a crate that uses dma_buf_constraints.
dma-buf-constraints-crate := -L $(obj)/dma_buf_constraints --extern dma_buf_constraints

# --- cenalloc: buffers, allocators, /dev/cenalloc -----------------------------
obj-$(CONFIG_CENALLOC) += cenalloc.o
cenalloc-y := \
	cenalloc/cenalloc.o \
	cenalloc/carveout.o \
	cenalloc/cma.o \
	cenalloc/debugfs.o \
	cenalloc/dma_coherent.o \
	cenalloc/exports_generated.o \
	cenalloc/helpers.o \
	cenalloc/trace.o

# The kernel's define_trace.h includes trace.h again, by the name it has here.
CFLAGS_cenalloc/trace.o += -I$(src)/cenalloc

RUSTFLAGS_cenalloc/cenalloc.o += $(dma-buf-constraints-crate) \
	--env-set CENALLOC_OBJ=$(abspath $(obj)/cenalloc) \
	--emit=metadata=$(obj)/cenalloc/libcenalloc.rmeta
$(obj)/cenalloc/cenalloc.o: $(obj)/dma_buf_constraints/dma_buf_constraints.o

$(obj)/cenalloc/bindings_generated.rs: private bindgen-items := \
	cenalloc_.*|CENALLOC_.*|dma_heap_allocation_data|gen_pool
$(obj)/cenalloc/bindings_generated.rs: $(src)/cenalloc/helpers.h FORCE
	$(call if_changed_dep,rust_bindings)
$(obj)/cenalloc/cenalloc.o: $(obj)/cenalloc/bindings_generated.rs

$(obj)/cenalloc/exports_generated.c: private rust-exports-c-api := \
	(__cenalloc_device_add_allocator|cenalloc_(get_device|buffer_(create|free)|phys|sg_table|device_remove_allocator))$$
$(obj)/cenalloc/exports_generated.c: $(obj)/cenalloc/cenalloc.o FORCE
	$(call if_changed,rust_exports)

targets += cenalloc/bindings_generated.rs cenalloc/exports_generated.c
clean-files += cenalloc/libcenalloc.rmeta

# For a crate that uses cenalloc.
cenalloc-crate := $(dma-buf-constraints-crate) -L $(obj)/cenalloc --extern cenalloc

# --- Samples: importers, an exporter, allocators, in Rust and in C -------------
obj-$(CONFIG_SAMPLE_CENALLOC) += cenalloc_importer.o
cenalloc_importer-y := samples/importer/importer.o samples/importer/device.o

RUSTFLAGS_samples/importer/importer.o += $(dma-buf-constraints-crate) \
	--env-set CENALLOC_IMPORTER_OBJ=$(abspath $(obj)/samples/importer)
$(obj)/samples/importer/importer.o: $(obj)/dma_buf_constraints/dma_buf_constraints.o

$(obj)/samples/importer/bindings_generated.rs: private bindgen-items := \
	importer_.*|IMPORTER_.*
$(obj)/samples/importer/bindings_generated.rs: $(src)/samples/importer/device.h FORCE
	$(call if_changed_dep,rust_bindings)
$(obj)/samples/importer/importer.o: $(obj)/samples/importer/bindings_generated.rs

obj-$(CONFIG_SAMPLE_CENALLOC) += cenalloc_edu.o
cenalloc_edu-y := samples/edu/edu.o

RUSTFLAGS_samples/edu/edu.o += $(dma-buf-constraints-crate) \
	--env-set CENALLOC_EDU_OBJ=$(abspath $(obj)/samples/edu)
$(obj)/samples/edu/edu.o: $(obj)/dma_buf_constraints/dma_buf_constraints.o

$(obj)/samples/edu/bindings_generated.rs: private bindgen-items := edu_.*|EDU_.*
$(obj)/samples/edu/bindings_generated.rs: $(src)/samples/cenalloc_edu.h FORCE
	$(call if_changed_dep,rust_bindings)
$(obj)/samples/edu/edu.o: $(obj)/samples/edu/bindings_generated.rs

targets += samples/importer/bindings_generated.rs samples/edu/bindings_generated.rs

obj-$(CONFIG_SAMPLE_CENALLOC) += cenalloc_c_exporter.o
cenalloc_c_exporter-y := samples/c_exporter/c_exporter.o

obj-$(CONFIG_SAMPLE_CENALLOC) += cenalloc_c_importer.o
cenalloc_c_importer-y := \
	samples/c_importer/devices.o \
	samples/c_importer/file.o \
	samples/c_importer/sequence.o

obj-$(CONFIG_SAMPLE_CENALLOC) += cenalloc_c_allocator.o
cenalloc_c_allocator-y := \
	samples/c_allocator/faulty.o \
	samples/c_allocator/file.o \
	samples/c_allocator/pieces.o \
	samples/c_allocator/plain.o

obj-$(CONFIG_SAMPLE_CENALLOC) += cenalloc_rust_allocator.o
cenalloc_rust_allocator-y := \
	samples/rust_allocator/rust_allocator.o \
	samples/rust_allocator/page.o

RUSTFLAGS_samples/rust_allocator/rust_allocator.o += $(cenalloc-crate) \
	--env-set CENALLOC_RUST_ALLOCATOR_OBJ=$(abspath $(obj)/samples/rust_allocator)
$(obj)/samples/rust_allocator/rust_allocator.o: $(obj)/cenalloc/cenalloc.o

$(obj)/samples/rust_allocator/bindings_generated.rs: private bindgen-items := \
	rust_allocator_.*|RUST_ALLOCATOR_.*
$(obj)/samples/rust_allocator/bindings_generated.rs: $(src)/samples/rust_allocator/page.h FORCE
	$(call if_changed_dep,rust_bindings)
$(obj)/samples/rust_allocator/rust_allocator.o: $(obj)/samples/rust_allocator/bindings_generated.rs

targets += samples/rust_allocator/bindings_generated.rs

obj-$(CONFIG_SAMPLE_CENALLOC_BUGS) += cenalloc_bugs.o
cenalloc_bugs-y := samples/bugs/bugs.o samples/bugs/unmap.o

RUSTFLAGS_samples/bugs/bugs.o += $(dma-buf-constraints-crate)
$(obj)/samples/bugs/bugs.o: $(obj)/dma_buf_constraints/dma_buf_constraints.o

else

include scripts/workbench.mk

endif
