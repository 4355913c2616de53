// SPDX-License-Identifier: GPL-2.0
/* What the reader sees. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"

const char *bold = "", *good = "", *bad = "", *dim = "", *plain = "";

void use_colour(void)
{
	bold = "\033[1m";
	good = "\033[32m";
	bad = "\033[31m";
	dim = "\033[2m";
	plain = "\033[0m";
}

void chapter(const char *title)
{
	static unsigned int number;

	printf("\n%s%u. %s%s\n", bold, ++number, title, plain);
	fflush(stdout);
}

void say(const char *format, ...)
{
	va_list args;

	printf("   ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

/* Says what somebody else said, in lines that fit. */
void quote(const char *text)
{
	const size_t room = 72;
	const char *mark = "\"";

	while (strlen(text) > room) {
		size_t len = room;

		while (len && text[len] != ' ')
			len--;
		if (!len)
			len = room;
		say("  %s%.*s", mark, (int)len, text);
		text += len + (text[len] == ' ');
		mark = " ";
	}
	say("  %s%s\"", mark, text);
}

void die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "%sdemo: ", bad);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "%s\n", plain);
	exit(1);
}

void die_errno(const char *what)
{
	die("%s: %s", what, strerror(errno));
}
