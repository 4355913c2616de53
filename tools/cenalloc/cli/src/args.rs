// SPDX-License-Identifier: GPL-2.0

//! The command line.

use cenalloc::{debugfs::Debugfs, Classes, Constraints, Device, Limit, Size};
use clap::{Parser, Subcommand, ValueHint};
use std::{path::PathBuf, time::Duration};

const EXIT_STATUS: &str = "\
Exit status: 0 for success, 1 for an error, 2 for a command line that makes no sense; of \
`cenalloc test` also 3 where there will never be such memory, and 4 where there is none now.";

const NUMBERS: &str = "\
Sizes are numbers of bytes: 4096, 0x1000, 8M, 64KiB, 2^20. Limits are what lies just above, as a \
power of two or a size with a unit (2^32, 4GiB), or the last that can be reached, as a plain \
number (0xffffffff). Classes of memory are names, bits and numbers between commas: system, \
system-contig, cma, dma-coherent, carveout, bit-32, 0x5. Bits 32 to 63 are for allocators \
outside the kernel tree.";

/// Shows buffers of cenalloc, and says in words why somebody was refused.
///
/// cenalloc makes buffers for devices to share, whose memory is chosen when all users are known.
#[derive(Debug, Parser)]
#[command(name = "cenalloc", version, after_long_help = EXIT_STATUS)]
pub(crate) struct Args {
    /// Print JSON; `watch` prints a line of it each time
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// The directory of cenalloc in debugfs, or a copy of one
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath,
          default_value = Debugfs::PATH)]
    pub(crate) debugfs: PathBuf,

    /// The device file of cenalloc
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath,
          default_value = Device::PATH)]
    pub(crate) device: PathBuf,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List all buffers and their users
    List(List),
    /// Show all buffers and their users, again and again
    Watch(Watch),
    /// Say why somebody was refused, and what can be done about it
    ///
    /// Without arguments: the last refusal of all.
    Why(Which),
    /// Tell all that there is to tell of one buffer, by a descriptor
    Query(ByDescriptor),
    /// Tell which allocator would provide memory, or why none
    ///
    /// The memory is taken and given back.
    #[command(after_long_help = NUMBERS)]
    Test(Test),
    /// List the allocators, in the order in which they are tried
    Allocators,
    /// Tell which device on a bus is behind a device file (/dev/video0, /dev/dri/card0)
    Device(Devices),
    /// Load and save what the administrator knows of devices' needs
    Policy(Policy),
    /// Print the completion script of a shell
    Completion {
        /// Which
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man {
        /// Where to, which must be there
        #[arg(value_hint = ValueHint::DirPath)]
        directory: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only these buffers, by their numbers
    #[arg(value_name = "BUFFER")]
    pub(crate) buffers: Vec<u64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub(crate) interval: Duration,

    /// How often to look; for ever without it
    #[arg(short, long, value_name = "TIMES")]
    pub(crate) count: Option<u64>,

    #[command(flatten)]
    pub(crate) list: List,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "no number of seconds")?;
    if (0.01..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("not between 0.01 and 86400 seconds".to_owned())
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct ByDescriptor {
    /// The number of a descriptor of the buffer
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) fd: i32,

    /// The process whose descriptor it is; without it, one that this program was given
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) pid: Option<i32>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The number of the buffer
    #[arg(value_name = "BUFFER", conflicts_with_all = ["fd", "pid"])]
    pub(crate) buffer: Option<u64>,

    /// The number of a descriptor of the buffer
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) fd: Option<i32>,

    /// The process whose descriptor it is; without it, one that this program was given
    #[arg(long, requires = "fd", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) pid: Option<i32>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// The length of the buffer
    #[arg(long, value_name = "SIZE")]
    pub(crate) len: Size,

    #[command(flatten)]
    pub(crate) needs: Needs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Needs {
    /// Only memory of these classes
    #[arg(long, value_name = "CLASSES")]
    access_mask: Option<Classes>,

    /// No address beyond this
    #[arg(long, value_name = "LIMIT")]
    max_address: Option<Limit>,

    /// No segment longer than this
    #[arg(long, value_name = "SIZE")]
    max_segment_size: Option<Size>,

    /// No segment that crosses a multiple of this
    #[arg(long, value_name = "LIMIT")]
    segment_boundary_mask: Option<Limit>,

    /// Segments that start at multiples of this
    #[arg(long, value_name = "SIZE")]
    alignment: Option<Size>,

    /// No more segments than this
    #[arg(long, value_name = "COUNT")]
    max_segments: Option<u32>,

    /// One contiguous run: the same as --max-segments 1
    #[arg(long, conflicts_with = "max_segments")]
    contiguous: bool,

    /// Memory without cache maintenance
    #[arg(long)]
    coherent: bool,
}

impl Needs {
    pub(crate) fn constraints(&self) -> Constraints {
        let limit = |limit: Option<Limit>| limit.map(|limit| limit.0).filter(|l| *l != u64::MAX);
        Constraints {
            access_mask: self.access_mask.map(|classes| classes.0),
            max_address: limit(self.max_address),
            max_segment_size: self.max_segment_size.map(|size| size.0),
            segment_boundary_mask: limit(self.segment_boundary_mask),
            alignment: self.alignment.map(|size| size.0),
            max_segments: self.max_segments.or(self.contiguous.then_some(1)),
            coherent: self.coherent,
            // Of one user alone it means nothing.
            priority: 0,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Devices {
    /// Device files
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,

    /// All devices behind a file, the nearest first
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Policy {
    /// The directory of the policy in configfs
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath,
          default_value = crate::policy::CONFIGFS)]
    pub(crate) configfs: PathBuf,

    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the policy that holds now
    Show,
    /// Save the policy that holds now as TOML
    Save {
        /// Where to; standard output without it
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Load a policy from TOML
    ///
    /// The whole file is checked first. A device's fields that are not in the file become "don't
    /// care". It binds devices that attach from then on.
    #[command(after_long_help = NUMBERS)]
    Load {
        /// Where from; standard input without it
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,

        /// Remove what is set for devices that are not in the file
        #[arg(long)]
        prune: bool,

        /// Only check the file, and say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn needs_as_people_write_them() {
        let args = parse(
            "cenalloc test --len 8M --max-address 2^32 --contiguous --access-mask system,cma \
             --segment-boundary-mask 4MiB --max-segment-size 64KiB --alignment 2^20 \
             --coherent",
        );
        let Command::Test(test) = args.unwrap().command else {
            panic!("test is test");
        };
        assert_eq!(test.len, Size(8 << 20));
        let needs = Constraints {
            access_mask: Some(0b101),
            max_address: Some(u64::from(u32::MAX)),
            max_segment_size: Some(1 << 16),
            segment_boundary_mask: Some((4 << 20) - 1),
            alignment: Some(1 << 20),
            max_segments: Some(1),
            coherent: true,
            priority: 0,
        };
        assert_eq!(test.needs.constraints(), needs);
        let args = parse("cenalloc test --len 1 --max-address 2^64");
        let Command::Test(test) = args.unwrap().command else {
            panic!("test is test");
        };
        assert_eq!(test.needs.constraints(), Constraints::ANY);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "cenalloc",
            "cenalloc test",
            "cenalloc test --len 8MB",
            "cenalloc test --len 8M --contiguous --max-segments 2",
            "cenalloc why 3 --fd 4",
            "cenalloc why --pid 4",
            "cenalloc query",
            "cenalloc query --fd -1",
            "cenalloc query --fd 1 --pid 0",
            "cenalloc watch --interval 0",
            "cenalloc watch --interval NaN",
            "cenalloc device",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
