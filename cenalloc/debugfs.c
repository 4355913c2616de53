// SPDX-License-Identifier: GPL-2.0
/*
 * The files of /sys/kernel/debug/cenalloc/; what they show is written in Rust.
 *
 * In C because of .owner, without which a file that is open would outlive the
 * module: the kernel's Rust interface to debugfs does not set it.
 */

#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "helpers.h"

DEFINE_SHOW_ATTRIBUTE(cenalloc_buffers);
DEFINE_SHOW_ATTRIBUTE(cenalloc_devices);
DEFINE_SHOW_ATTRIBUTE(cenalloc_refusal);

struct dentry *cenalloc_debugfs_create(void)
{
	struct dentry *dir = debugfs_create_dir("cenalloc", NULL);

	debugfs_create_file("buffers", 0400, dir, NULL, &cenalloc_buffers_fops);
	debugfs_create_file("devices", 0400, dir, NULL, &cenalloc_devices_fops);
	debugfs_create_file("refusal", 0400, dir, NULL, &cenalloc_refusal_fops);
	return dir;
}

/* An inline function without CONFIG_DEBUG_FS. */
void cenalloc_debugfs_remove(struct dentry *dir)
{
	debugfs_remove(dir);
}

