#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# Writes the series as mails: a cover letter, and a patch for each commit. Runs
# inside the private root; called by scripts/patches.
#
# usage: mail.py KERNEL DIRECTORY NAME EMAIL

import glob
import os
import sys
import tempfile

from series import SERIES, Failure, Series


def write(kernel, out, name, email):
    """Returns the names of the files, in order."""
    with tempfile.TemporaryDirectory() as scratch:
        series = Series(scratch, kernel, name, email)
        series.build()
        for old in glob.glob(f'{out}/[0-9][0-9][0-9][0-9]-*.patch'):
            os.unlink(old)
        series.git('format-patch', '--quiet', '--cover-letter',
                   '--cover-from-description=subject',
                   f'--description-file={SERIES}/cover-letter', '--zero-commit',
                   f'--output-directory={out}', series.base)
    return sorted(glob.glob(f'{out}/[0-9][0-9][0-9][0-9]-*.patch'))


def main():
    try:
        patches = write(*sys.argv[1:])
    except (Failure, OSError) as failure:
        sys.exit(f'patches: {failure}')
    print(f'{len(patches) - 1} patches and a cover letter in {sys.argv[2]}')


if __name__ == '__main__':
    main()
