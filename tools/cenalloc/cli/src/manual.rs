// SPDX-License-Identifier: GPL-2.0

//! What `--help` and the manual pages tell beside the options.
//!
//! A line that ends in a colon begins a section, indented lines are taken as they are.

/// Of the command as a whole.
pub(crate) const ALL: &str = "\
Exit status:
  0  success
  1  an error: it is told on standard error
  2  the command line makes no sense
  3  of `cenalloc test`: there will never be such memory
  4  of `cenalloc test`: there is no such memory now

JSON:
With --json each command prints one object, `watch` one a line. The page of each command has its \
keys, which keep their names and meaning; later versions may add some. Numbers are integers of up \
to 64 bits, lengths and addresses are in bytes; null is what is not known or not there. An error \
goes to standard error:
  {\"error\": {\"message\", \"errno\", \"hint\"}}

Files:
  /dev/cenalloc                            query, test, allocators, why
  /sys/kernel/debug/cenalloc               list, watch, why, query; takes root
  /sys/kernel/config/dma_buf_constraints   policy
  /proc                                    list --pids, why, query; policy, for
                                           the recipe of this board

Examples:
Who keeps a new device out of a buffer:
  cenalloc why
Where the memory is, and which programs have it:
  cenalloc list --pids --sort size
Whether a camera's frames can be contiguous below 4 GiB:
  cenalloc test --len 8M --contiguous --max-address 4GiB
";

/// Keys of a buffer, which several commands print.
macro_rules! buffer_keys {
    () => {
        "\
A buffer:
  id               its number
  inode            the number of its inode, as in /proc/PID/fdinfo and maps
  name             its name, or null
  size             its length
  state            \"empty\" or \"backed\"
  caching          \"none\", \"cached\" or \"coherent\" *
  needs            what all users need together
  allocator        who provided the memory, or null
  ranges           how many physical ranges the memory is *
  recycled         bytes of it that were taken from a pool *
  user_count       how many users there are
  map_count        how many of them have it mapped
  kernel_maps      how many mappings of the kernel there are
  holds            how the memory is held where it is: \"mapping\", \"pin\",
                   \"kernel\", \"fence\", \"address\" *
  holders          how many hold it
  waiting          how many declarations wait for it
  late_refusals    how often a user came too late
  relocations      how often the memory was relocated
  left             {\"device\", \"segments\"} of the last device that mapped
                   several segments and left at once *
  refusals         how many refusals there were
  refusal          the last one, or null
  users            [user]
  processes        [{\"pid\", \"name\", \"fds\", \"maps\"}] with it open or mapped;
                   null where that was not asked for
What has a star is null where it comes from debugfs.

A user:
  name, needs, declared, attached *, mapped, pinned, dynamic *,
  second_choice, late_refusals, preferences *, unmet *, sources *, origin *
Sources are an object: from a field of the needs to \"device\", \"declared\", \"policy\", \
\"ancestor\", \"attachment\", \"objects\", \"table\", \"library\" or \"seen\".

Needs:
  access_mask, max_address, max_segments, max_segment_size,
  segment_boundary_mask, alignment, coherent, priority

"
    };
}

/// Keys of a refusal.
macro_rules! refusal_keys {
    () => {
        "\
A refusal:
  text             in words: what happened, and what can be done
All others are null where the words come from debugfs, or from a kernel that is newer:
  sentence         what happened
  advice           what can be done, or null
  cause            \"user\", \"others\", \"itself\", \"allocator\", \"removed\", \"held\",
                   \"charge\", \"shortage\", \"addresses\", \"bookkeeping\",
                   \"users\", \"bounced\", \"no_bus\", \"no_device\", \"no_driver\",
                   \"no_dma\"
  field            one of the needs, \"length\", \"contiguous\", \"device\"; or null
  wanted, found    what is needed in that field, and what stands against it
  who              the user that was refused, or null
  other            the other party, or null
  behind           the user whose need an allocator does not meet, or null
  holder           how the memory is held, or null
  holders          how many hold it
  sequence         its number among those of the buffer, from 1
  when             its time, in nanoseconds of CLOCK_BOOTTIME, or null
  len              the length of the buffer
  max_address      the last address that all users reach, or null
  classes          the classes of memory that were asked, a mask

"
    };
}

/// How people write numbers.
macro_rules! numbers {
    () => {
        "\
Numbers:
Sizes are numbers of bytes: 4096, 0x1000, 8M, 64KiB, 2^20. Limits are what lies just above, as a \
power of two or a size with a unit (2^32, 4GiB), or the last that can be reached, as a plain \
number (0xffffffff). Classes of memory are names, bits and numbers between commas: system, \
system-contig, cma, dma-coherent, carveout, bit-32, 0x5. Bits 32 to 63 are for allocators \
outside the kernel tree.

"
    };
}

pub(crate) const LIST: &str = concat!(
    "\
JSON:
  {\"buffers\": [buffer], \"hidden_processes\"}
The latter is how many processes could not be looked into; null without --pids.

",
    buffer_keys!(),
    refusal_keys!(),
    "\
Examples:
The largest first, and which programs have them:
  cenalloc list --sort size --pids
A table for a script:
  cenalloc list --columns id,size,pids
Buffers that nobody has open or mapped, which only the kernel keeps:
  cenalloc list --pids --json | jq '.buffers[] | select(.processes == [])'
"
);

pub(crate) const WATCH: &str = "\
JSON:
A line of what `cenalloc list --json` prints, each time.

Examples:
Four times a second, those that hold memory up first:
  cenalloc watch --interval 0.25 --sort holders
A record of ten minutes:
  cenalloc watch --json --count 600 >record
";

pub(crate) const WHY: &str = concat!(
    "\
JSON:
  {\"buffer\", \"gone\", \"refusal\", \"now\"}
The number of the buffer, null where nobody was refused; whether the buffer is gone; the refusal, \
or null; the buffer as it is now, or null.

",
    refusal_keys!(),
    buffer_keys!(),
    "\
Examples:
The last refusal of all:
  cenalloc why
That of one buffer:
  cenalloc why 17
By a descriptor of a program, without root but with the right to trace it:
  cenalloc why --pid 4711 --fd 12
"
);

pub(crate) const QUERY: &str = concat!(
    "\
JSON:
A buffer.

",
    buffer_keys!(),
    refusal_keys!(),
    "\
Examples:
  cenalloc query 17
  cenalloc query --pid 4711 --fd 12 --json
"
);

pub(crate) const TEST: &str = concat!(
    numbers!(),
    "\
Exit status:
  0  there seems to be memory
  1  an error
  2  the command line makes no sense
  3  there will never be such memory
  4  there is none now

JSON:
  {\"result\", \"allocator\", \"refusal\"}
The result is \"ok\", \"no-memory\" or \"never\"; the allocator is with \"ok\" only, the refusal \
with the others.

",
    refusal_keys!(),
    "\
Examples:
A contiguous range below 4 GiB:
  cenalloc test --len 8M --max-address 2^32 --contiguous
In a script:
  cenalloc test --len 32M --access-mask cma || echo 'boot with cma=64M'
"
);

pub(crate) const ALLOCATORS: &str = "\
Columns:
  LONGEST  the longest buffer that it can provide for
  USED     what buffers have from it now
  FREE     what it has free now, not all of it in one range; memory that
           others use and can give up counts
  AREA     where it lies, if it is an area: shown to root

JSON:
  {\"allocators\": [{\"name\", \"access_mask\", \"priority\", \"contiguous\",
    \"max_len\", \"used\", \"free\", \"start\", \"area_len\"}]}

Examples:
How much is free in areas of contiguous memory:
  cenalloc allocators --json | jq '.allocators[] | select(.start) | .free'
";

pub(crate) const DEVICE: &str = "\
JSON:
  {\"devices\": [{\"file\", \"bus\", \"device\", \"driver\"}]}

Examples:
  cenalloc device /dev/video0
The host controller behind a camera on USB, too:
  cenalloc device --all /dev/video0
";

pub(crate) const COMPLETION: &str = "\
Examples:
  cenalloc completion bash >/usr/share/bash-completion/completions/cenalloc
";

pub(crate) const POLICY_SHOW: &str = "\
JSON:
  {\"devices\": [{\"bus\", \"device\", \"needs\", \"present\", \"driver\"}]}
Whether there is such a device now, and its driver, or null. These needs have
prefers_contiguous and known_needs, too. A bus of driver or module is no bus: the
entry is of the devices of a driver, or of all drivers of a module.

Examples:
  cenalloc policy show
";

pub(crate) const POLICY_LOAD: &str = concat!(
    numbers!(),
    "\
JSON:
  {\"changes\": [{\"bus\", \"device\", \"before\", \"after\"}], \"warnings\": [text]}
Before and after are needs as of policy show; null is no entry.

Examples:
A file:
  [platform.\"vivid.0\"]
  max_address = \"2^32\"
  max_segments = 1
  [platform.\"camera.0\"]
  prefers_contiguous = true
  [module.vivid]
  known_needs = false
What it would change:
  cenalloc policy load --dry-run policy.toml
That, and nothing else, at boot:
  cenalloc policy load --prune /etc/cenalloc.toml
What is not known of this board by itself:
  cenalloc policy load --board
"
);

pub(crate) const POLICY_RECIPES: &str = "\
JSON:
  {\"recipes\": [{\"name\", \"compatible\", \"entries\", \"here\"}]}
Which boards a recipe is for, by what their device tree is compatible with, how many entries it \
has, and whether this machine is one of them. A recipe without entries says why: nothing is known \
of that board that the kernel does not know. With a board, TOML is printed.

Examples:
What it would change, and why:
  cenalloc policy load --board rk3588 --dry-run
  cenalloc policy recipes rk3588
One to begin with, to be loaded at boot:
  cenalloc policy recipes imx8m >/etc/cenalloc.toml
";
