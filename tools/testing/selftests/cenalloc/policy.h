/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the administrator says of devices, through configfs.
 *
 * To be included after calls.h.
 */

#ifndef _CENALLOC_POLICY_H
#define _CENALLOC_POLICY_H

#include <sys/mount.h>
#include <sys/stat.h>

#define CONFIGFS	"/sys/kernel/config"
#define POLICIES	CONFIGFS "/dma_buf_constraints/"

/* Mounts configfs where it is not; false if there are no policies. */
static inline bool have_policies(void)
{
	mount("none", CONFIGFS, "configfs", 0, NULL);
	return !access(POLICIES, F_OK);
}

static inline void make_path(char *path, size_t size, const char *policy, const char *attribute)
{
	snprintf(path, size, POLICIES "%.127s%s%.40s", policy, attribute ? "/" : "",
		 attribute ? attribute : "");
}

static inline int make_policy(const char *policy)
{
	char path[256];

	make_path(path, sizeof(path), policy, NULL);
	return mkdir(path, 0755) ? -errno : 0;
}

static inline int remove_policy(const char *policy)
{
	char path[256];

	make_path(path, sizeof(path), policy, NULL);
	return rmdir(path) ? -errno : 0;
}

static inline int say(const char *policy, const char *attribute, const char *value)
{
	char path[256];

	make_path(path, sizeof(path), policy, attribute);
	return write_file(path, value);
}

/* A number as an attribute tells it, and takes it. */
static inline const char *hex(__u64 number)
{
	static char text[32];

	snprintf(text, sizeof(text), "%#llx\n", number);
	return text;
}

static inline const char *said(const char *policy, const char *attribute)
{
	static char text[64];
	char path[256];

	make_path(path, sizeof(path), policy, attribute);
	return slurp(path, text, sizeof(text));
}

/* What a device of a bus needs, as a declaration of it shows. */
static inline struct cenalloc_constraints needs_of(const char *bus, const char *device)
{
	struct cenalloc_constraints needs;
	struct told told;
	int fd = create(MIB);

	memset(&needs, 0xff, sizeof(needs));
	if (!declare_device(fd, bus, device) && !query(fd, &told) && told.query.user_count == 1)
		needs = told.users[0].constraints;
	close(fd);
	return needs;
}

/*
 * A device of @importer that prefers one range, by a policy for it that @policy names.
 * Puts its name into @device, of 64 bytes; false where that fails.
 */
static inline bool add_preferring(int importer, char *device, char *policy, size_t size)
{
	struct importer_add add = DEVICE(.name = "preferring");

	if (!have_policies() || add_device(importer, add) < 0 ||
	    !find_device("platform", "preferring.", device, 64))
		return false;
	snprintf(policy, size, "platform:%s", device);
	return !make_policy(policy) && !say(policy, "prefers_contiguous", "1");
}

#endif /* _CENALLOC_POLICY_H */
