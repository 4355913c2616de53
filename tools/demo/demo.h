/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the demo share. */

#ifndef _DEMO_H
#define _DEMO_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* say.c: what the reader sees. The attributes are spelt as in the kernel: see Makefile. */
extern const char *bold, *good, *bad, *dim, *plain;

void use_colour(void);
void chapter(const char *title);
void quote(const char *text);
__printf(1, 2) void say(const char *format, ...);
__printf(1, 2) __noreturn void die(const char *format, ...);
__noreturn void die_errno(const char *what);

/* watch.c: what cenalloc tells of a buffer, read from the running kernel */
struct needs {
	char classes[64];
	char below[24];
	char segments[16];
};

struct buffer {
	unsigned long id;
	char state[16];
	char allocator[32];
	struct needs needs;
	unsigned int users;
	unsigned int relocations;
};

struct user {
	char name[64];
	struct needs needs;
	/* From what it is known that it prefers contiguous memory; "-" where it does not. */
	char prefers[16];
};

struct buffer watch_buffer(const char *name);
struct user watch_newest_user(unsigned long buffer);
void watch_refusal(char *line, size_t size);
unsigned int watch_count(void);
const char *words(const struct needs *needs);

/* allocators.c: /dev/cenalloc, and a heap to compare with */
int heap_allocate(__u64 len);
int buffer_create(const char *name, __u64 len);
void buffer_declare(int fd, const char *device);
__u64 bytes_given_out(void);
void explain_choice(const struct buffer *buffer, __u64 len);

/* devices.c: the importers */
#define MOST_SEGMENTS	256

struct segment {
	__u64 address;
	__u64 len;
};

int vgem_open(void);
void vgem_import(int vgem, int fd);

int edu_open(void);
void edu_attach(int edu, int fd);
struct segment edu_map(int edu, unsigned int *count);
void edu_unmap(int edu);
void edu_carry(int edu, __u64 offset, __u32 len, bool to_device);

struct wish {
	const char *name;
	__u64 dma_mask;
	__u64 access_mask;
	__u32 max_segments;
};

int importer_open(void);
__u32 importer_add(int importer, const struct wish *wish);
int importer_attach(int importer, __u32 device, int fd, __u32 *attachment);
struct segment importer_map(int importer, __u32 attachment, struct segment *segments);
void importer_unmap(int importer, __u32 attachment);

/* look.c: what is at DMA addresses */
void look_at(const struct segment *segments, __u8 *to, size_t len);

/* camera.c: vivid */
int camera_open(unsigned int number, __u32 width, __u32 height, __u32 len);
int camera_queue(int camera, int fd, __u32 len);
__u32 camera_wait(int camera, int fd);
void camera_stop(int camera);

#endif /* _DEMO_H */
