/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The calls on a buffer after CREATE, dynamic attachments, devices by bus and
 * name, and bytes to know again. Calls return a negative errno.
 *
 * To be included after cenalloc_test.h.
 */

#ifndef _CENALLOC_CALLS_H
#define _CENALLOC_CALLS_H

#include <dirent.h>
#include <time.h>

/* --- /dev/cenalloc -------------------------------------------------------- */

static inline int ask(unsigned long request, void *argument)
{
	int device = open_device("/dev/cenalloc");
	int ret;

	if (device < 0)
		return device;
	ret = call(device, request, argument);
	close(device);
	return ret;
}

#define NEEDS(...)	((struct cenalloc_constraints){ __VA_ARGS__ })

static inline int declare_device_with(int fd, const char *bus, const char *device,
				      struct cenalloc_constraints needs)
{
	struct cenalloc_declare declare = { .fd = fd, .constraints = needs };

	snprintf(declare.bus, sizeof(declare.bus), "%s", bus);
	snprintf(declare.device, sizeof(declare.device), "%s", device);
	return ask(CENALLOC_DECLARE, &declare);
}

static inline int declare_device(int fd, const char *bus, const char *device)
{
	return declare_device_with(fd, bus, device, NEEDS());
}

static inline int declare_needs(int fd, const char *name, struct cenalloc_constraints needs)
{
	return declare_device_with(fd, "", name, needs);
}

static inline int allocate(int fd)
{
	struct cenalloc_allocate allocate = { .fd = fd };

	return ask(CENALLOC_ALLOCATE, &allocate);
}

#define USERS	16

/* All that QUERY tells. */
struct told {
	struct cenalloc_query query;
	struct cenalloc_user users[USERS];
	char text[LINE];
};

static inline int query(int fd, struct told *told)
{
	memset(told, 0, sizeof(*told));
	told->query.fd = fd;
	told->query.users = (uintptr_t)told->users;
	told->query.user_count = USERS;
	told->query.user_size = sizeof(told->users[0]);
	told->query.text = (uintptr_t)told->text;
	told->query.text_len = sizeof(told->text);
	return ask(CENALLOC_QUERY, &told->query);
}

/* The fixed part alone; with all bits of the state set where the call failed. */
static inline struct cenalloc_query query_fields(int fd)
{
	struct cenalloc_query query = { .fd = fd };

	if (ask(CENALLOC_QUERY, &query))
		memset(&query, 0xff, sizeof(query));
	return query;
}

/* The first user with @part in its name, or NULL. */
static inline struct cenalloc_user *told_user(struct told *told, const char *part)
{
	__u32 i;

	for (i = 0; i < told->query.user_count && i < USERS; i++)
		if (strstr(told->users[i].name, part))
			return &told->users[i];
	return NULL;
}

/* --- Dynamic attachments -------------------------------------------------- */

static inline int attach_dynamic(int importer, int device, int fd)
{
	struct importer_attach attach = {
		.device = device,
		.fd = fd,
		.flags = IMPORTER_DYNAMIC,
	};
	int ret = call(importer, IMPORTER_ATTACH, &attach);

	return ret ? ret : (int)attach.attachment;
}

/* A new device, attached dynamically; returns the attachment. */
static inline int join_dynamic(int importer, int fd, struct importer_add add)
{
	int device = add_device(importer, add);

	return device < 0 ? device : attach_dynamic(importer, device, fd);
}

static inline int pin(int importer, int attachment)
{
	return call_number(importer, IMPORTER_PIN, attachment);
}

static inline int unpin(int importer, int attachment)
{
	return call_number(importer, IMPORTER_UNPIN, attachment);
}

/* How often an attachment was told that memory moves. */
static inline int count_moves(int importer, int attachment)
{
	struct importer_moves moves = { .attachment = attachment };
	int ret = call(importer, IMPORTER_MOVES, &moves);

	return ret ? ret : (int)moves.moves;
}

/* --- Devices by name ------------------------------------------------------ */

/* The device of a bus whose name starts so; false if there is none. */
static inline bool find_device(const char *bus, const char *start, char *name, size_t size)
{
	struct dirent *entry;
	bool found = false;
	char path[128];
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/%s/devices", bus);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		found = !strncmp(entry->d_name, start, strlen(start));
		if (found)
			snprintf(name, size, "%.*s", (int)size - 1, entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* The PCI name of the edu device, empty if there is none. */
static inline const char *edu_name(void)
{
	static char name[64];
	char path[256], text[16];
	struct dirent *entry;
	DIR *dir = opendir("/sys/bus/pci/devices");

	name[0] = '\0';
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.64s/device", entry->d_name);
		if (!strcmp(slurp(path, text, sizeof(text)), "0x11e8\n"))
			snprintf(name, sizeof(name), "%.63s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return name;
}

/* An attribute of the edu device, empty if there is none. */
static inline const char *edu_attribute(const char *attribute)
{
	static char text[64];
	char path[256];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", edu_name(), attribute);
	slurp(path, text, sizeof(text));
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/* The mask of the address bits that edu has. */
static inline __u64 edu_mask(void)
{
	int bits = atoi(edu_attribute("dma_mask_bits"));

	return bits ? BITS(bits) : 0;
}

/* Whether an IOMMU translates between its addresses and those of memory. */
static inline bool edu_translated(void)
{
	return !strncmp(edu_attribute("iommu_group/type"), "DMA", 3);
}

/* The last address that memory for edu may have, as a query tells it: 0 for any. */
static inline __u64 edu_reach(void)
{
	return edu_translated() ? 0 : edu_mask();
}

static inline int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* Binds a device to a driver or unbinds it: @what is "bind" or "unbind". */
static inline int rebind(const char *bus, const char *driver, const char *device, const char *what)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/%s/drivers/%s/%s", bus, driver, what);
	return write_file(path, device);
}

/* --- Bytes ---------------------------------------------------------------- */

#define MIX	0x9e3779b97f4a7c15ULL

static inline void fill_bytes(void *memory, __u64 len, __u64 seed)
{
	__u64 *words = memory;
	__u64 i;

	for (i = 0; i < len / sizeof(*words); i++)
		words[i] = (i + seed) * MIX;
}

/* Words that are not as fill_bytes() left them. */
static inline __u64 wrong_bytes(const void *memory, __u64 len, __u64 seed)
{
	const __u64 *words = memory;
	__u64 i, wrong = 0;

	for (i = 0; i < len / sizeof(*words); i++)
		wrong += words[i] != (i + seed) * MIX;
	return wrong;
}

static inline double seconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

#endif /* _CENALLOC_CALLS_H */
