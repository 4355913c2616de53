// SPDX-License-Identifier: GPL-2.0
/* What cenalloc tells of a buffer: the files in debugfs. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "demo.h"

#define DEBUGFS	"/sys/kernel/debug/cenalloc/"

static char text[64 * 1024];

static char *read_file(const char *path)
{
	size_t len = 0;
	ssize_t got;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die_errno(path);
	while (len < sizeof(text) - 1) {
		got = read(fd, text + len, sizeof(text) - 1 - len);
		if (got < 0)
			die_errno(path);
		if (!got)
			break;
		len += got;
	}
	close(fd);
	text[len] = '\0';
	return text;
}

/* Copies the value of @key in a line of key=value and key="value". */
static void value(const char *line, const char *key, char *to, size_t size)
{
	const char *end, *from = line;
	size_t len = strlen(key);

	while (strncmp(from, key, len) || from[len] != '=' ||
	       (from > line && from[-1] != ' ')) {
		from = strchr(from, ' ');
		if (!from)
			die("no %s in \"%s\"", key, line);
		from++;
	}
	from += len + 1;
	if (*from == '"')
		end = strchr(++from, '"');
	else
		end = from + strcspn(from, " ");
	if (!end || (size_t)(end - from) >= size)
		die("a strange %s in \"%s\"", key, line);
	memcpy(to, from, end - from);
	to[end - from] = '\0';
}

static unsigned long number(const char *line, const char *key)
{
	char digits[24];

	value(line, key, digits, sizeof(digits));
	return strtoul(digits, NULL, 0);
}

static void read_needs(const char *line, struct needs *needs)
{
	value(line, "class", needs->classes, sizeof(needs->classes));
	value(line, "below", needs->below, sizeof(needs->below));
	value(line, "segments", needs->segments, sizeof(needs->segments));
}

/* The newest buffer of that name. */
struct buffer watch_buffer(const char *name)
{
	struct buffer buffer = { .id = 0 };
	char *line, *rest = read_file(DEBUGFS "buffers");
	char its_name[64];

	while ((line = strsep(&rest, "\n")) && *line) {
		value(line, "name", its_name, sizeof(its_name));
		if (strcmp(its_name, name))
			continue;
		buffer.id = number(line, "id");
		value(line, "state", buffer.state, sizeof(buffer.state));
		value(line, "allocator", buffer.allocator,
		      sizeof(buffer.allocator));
		buffer.users = number(line, "users");
		buffer.relocations = number(line, "relocations");
		read_needs(line, &buffer.needs);
	}
	if (!buffer.id)
		die("debugfs does not list the buffer \"%s\"", name);
	return buffer;
}

/* Who attached last; nobody has detached before. */
struct user watch_newest_user(unsigned long buffer)
{
	char *line, *rest = read_file(DEBUGFS "devices");
	struct user user = { .name = "" };

	while ((line = strsep(&rest, "\n")) && *line) {
		if (number(line, "buffer") != buffer)
			continue;
		value(line, "device", user.name, sizeof(user.name));
		value(line, "prefers", user.prefers, sizeof(user.prefers));
		read_needs(line, &user.needs);
	}
	if (!*user.name)
		die("debugfs lists no device of buffer %lu", buffer);
	return user;
}

/* The last refusal, in the kernel's words. */
void watch_refusal(char *line, size_t size)
{
	char *words = read_file(DEBUGFS "refusal");

	words[strcspn(words, "\n")] = '\0';
	if (!*words)
		die("debugfs tells no reason");
	snprintf(line, size, "%s", words);
}

/* How many buffers there are. */
unsigned int watch_count(void)
{
	const char *at = read_file(DEBUGFS "buffers");
	unsigned int count = 0;

	while ((at = strchr(at, '\n'))) {
		count++;
		at++;
	}
	return count;
}

/* Needs in words; good until the next call but one. */
const char *words(const struct needs *needs)
{
	static char lines[2][128];
	static unsigned int turn;
	char *line = lines[turn++ % 2];
	const char *comma = "";
	size_t size = sizeof(lines[0]);
	size_t len = 0;

	if (strcmp(needs->below, "any")) {
		len += snprintf(line + len, size - len, "below %s", needs->below);
		comma = ", ";
	}
	if (!strcmp(needs->segments, "1")) {
		len += snprintf(line + len, size - len, "%scontiguous", comma);
		comma = ", ";
	} else if (strcmp(needs->segments, "any")) {
		len += snprintf(line + len, size - len, "%sat most %s ranges",
				comma, needs->segments);
		comma = ", ";
	}
	if (strcmp(needs->classes, "any")) {
		len += snprintf(line + len, size - len, "%smemory of class %s",
				comma, needs->classes);
		comma = ", ";
	}
	if (!len)
		snprintf(line, size, "any memory");
	return line;
}
