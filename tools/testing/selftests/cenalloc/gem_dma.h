/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The driver on the GEM DMA helpers of DRM, where the kernel has these.
 *
 * To be included after modules.h and vgem.h.
 */

#ifndef _CENALLOC_GEM_DMA_H
#define _CENALLOC_GEM_DMA_H

#define GEM_DMA		"cenalloc_gem_dma"

#define NO_GEM_DMA	"the kernel has no GEM DMA helpers"

/* Loads the module unless it is; ENODEV where there is none. */
static inline int open_gem_dma(void)
{
	return load(GEM_DMA) ? -ENODEV : open_card(GEM_DMA);
}

#endif /* _CENALLOC_GEM_DMA_H */
