# SPDX-License-Identifier: GPL-2.0
#
# Two readers. Kbuild reads the first half, with M= against a prepared kernel
# tree. Somebody at a shell prompt gets the second half: the workbench, whose
# targets `make help` lists.

ifneq ($(KERNELRELEASE),)

# There is no .config of ours here: everything is a module, and the headers stand
# here instead of in the kernel's include/. scripts/in-tree puts the modules into a
# kernel tree, whose drivers/dma-buf/Makefile reads the same makefiles.
CONFIG_DMA_BUF_CONSTRAINTS := m
CONFIG_CENALLOC := m
CONFIG_SAMPLE_CENALLOC := m
CONFIG_CENALLOC_TEST_MODULES := m
CONFIG_CENALLOC_TEST_GEM_DMA := $(if $(CONFIG_DRM_GEM_DMA_HELPER),m)
CONFIG_CENALLOC_TEST_QUEUES := $(if $(CONFIG_VIDEOBUF2_DMA_CONTIG),m)
CONFIG_CENALLOC_TEST_BUGS := $(if $(CONFIG_KASAN),m)
CONFIG_DMA_BUF_CONSTRAINTS_KUNIT_TEST := $(filter y,$(CONFIG_KUNIT))
CONFIG_CENALLOC_KUNIT_TEST := $(filter y,$(CONFIG_KUNIT))
rustflags-$(CONFIG_DMA_BUF_CONSTRAINTS_KUNIT_TEST) += --cfg CONFIG_DMA_BUF_CONSTRAINTS_KUNIT_TEST
rustflags-$(CONFIG_CENALLOC_KUNIT_TEST) += --cfg CONFIG_CENALLOC_KUNIT_TEST
ccflags-y += -I$(src)/include -I$(src)/include/uapi

# Part of the prepared kernel tree, which is not ours to change. Without a rule of its
# own Kbuild's pattern for such files makes it again in each build, and then our crates.
$(objtree)/rust/kernel/generated_arch_static_branch_asm.rs: ;

include $(src)/dma_buf_constraints/Makefile
include $(src)/cenalloc/Makefile
include $(src)/samples/Makefile
include $(src)/tools/testing/selftests/cenalloc/test_modules/Makefile

else

include scripts/workbench.mk

endif
