/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A buffer of BUFFER_LEN bytes to work with, and an importer.
 *
 * To be included after cenalloc_test.h, with BUFFER_LEN defined.
 */

#ifndef _CENALLOC_BUFFER_FIXTURE_H
#define _CENALLOC_BUFFER_FIXTURE_H

FIXTURE(buffer) {
	int fd;
	int importer;
};

FIXTURE_SETUP(buffer)
{
	self->fd = create(BUFFER_LEN);
	ASSERT_LE(0, self->fd);
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
}

FIXTURE_TEARDOWN(buffer)
{
	close(self->importer);
	close(self->fd);
}

#endif /* _CENALLOC_BUFFER_FIXTURE_H */
