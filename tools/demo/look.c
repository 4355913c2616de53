// SPDX-License-Identifier: GPL-2.0
/*
 * What a device reads at its DMA addresses. There is no IOMMU in the demo: these are
 * addresses of the machine's memory, which /proc/kcore shows.
 */

#include <fcntl.h>
#include <linux/elf.h>
#include <unistd.h>

#include "demo.h"

#define MOST_HEADERS	64

static void read_at(int fd, void *to, size_t len, off_t offset)
{
	if (pread(fd, to, len, offset) != (ssize_t)len)
		die_errno("/proc/kcore");
}

static void read_memory(int kcore, __u64 address, __u8 *to, size_t len)
{
	struct elf64_phdr headers[MOST_HEADERS];
	struct elf64_hdr elf;
	unsigned int i;

	read_at(kcore, &elf, sizeof(elf), 0);
	if (elf.e_phnum > MOST_HEADERS)
		die("/proc/kcore has %u parts", elf.e_phnum);
	read_at(kcore, headers, elf.e_phnum * sizeof(*headers), elf.e_phoff);
	for (i = 0; i < elf.e_phnum; i++) {
		const struct elf64_phdr *part = &headers[i];

		if (part->p_type != PT_LOAD || address < part->p_paddr ||
		    address + len > part->p_paddr + part->p_memsz)
			continue;
		read_at(kcore, to, len, part->p_offset + (address - part->p_paddr));
		return;
	}
	die("/proc/kcore has no memory at 0x%llx", (unsigned long long)address);
}

/* Reads @len bytes of a mapping, as its device would. */
void look_at(const struct segment *segments, __u8 *to, size_t len)
{
	int kcore = open("/proc/kcore", O_RDONLY | O_CLOEXEC);

	if (kcore < 0)
		die_errno("/proc/kcore");
	while (len) {
		size_t part = segments->len < len ? segments->len : len;

		read_memory(kcore, segments->address, to, part);
		to += part;
		len -= part;
		segments++;
	}
	close(kcore);
}
