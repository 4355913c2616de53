// SPDX-License-Identifier: GPL-2.0

//! The command line.

use crate::{complete, manual, recipes::Recipe};
use cenalloc::{debugfs::Debugfs, procfs::Procfs, Classes, Constraints, Device, Limit, Size};
use clap::{builder::PossibleValuesParser, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::engine::ArgValueCompleter;
use std::{path::PathBuf, time::Duration};

/// Shows buffers of cenalloc, and says in words why somebody was refused.
///
/// cenalloc makes buffers for devices to share, whose memory is chosen when all users are known.
#[derive(Debug, Parser)]
#[command(name = "cenalloc", version, after_long_help = manual::ALL)]
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

    /// The directory of processes, or one that looks the same
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath,
          default_value = Procfs::PATH)]
    pub(crate) procfs: PathBuf,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List all buffers and their users
    #[command(after_long_help = manual::LIST)]
    List(List),
    /// Show all buffers and their users, again and again
    ///
    /// On a terminal q ends it; the last picture stays.
    #[command(after_long_help = manual::WATCH)]
    Watch(Watch),
    /// Say why somebody was refused, and what can be done about it
    ///
    /// Without arguments: the last refusal of all.
    #[command(after_long_help = manual::WHY)]
    Why(Which),
    /// Tell all that there is to tell of one buffer
    ///
    /// By its number that is what debugfs has, and more if a process has the buffer open whose
    /// descriptor can be taken.
    #[command(after_long_help = manual::QUERY)]
    #[command(group(clap::ArgGroup::new("which").required(true).args(["buffer", "fd"])))]
    Query(Which),
    /// Tell which allocator would provide memory, or why none
    ///
    /// No memory is taken.
    #[command(after_long_help = manual::TEST)]
    Test(Test),
    /// List the allocators, in the order in which they are tried
    #[command(after_long_help = manual::ALLOCATORS)]
    Allocators,
    /// Tell which device on a bus is behind a device file (/dev/video0, /dev/dri/card0)
    #[command(after_long_help = manual::DEVICE)]
    Device(Devices),
    /// Load and save what the administrator knows of devices' needs
    Policy(Policy),
    /// Print the completion script of a shell
    ///
    /// It completes numbers of buffers and classes of memory, too: by asking this program.
    #[command(after_long_help = manual::COMPLETION)]
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
    #[arg(value_name = "BUFFER", add = ArgValueCompleter::new(complete::buffers))]
    pub(crate) buffers: Vec<u64>,

    /// Tell which processes have a buffer open or mapped
    #[arg(short, long)]
    pub(crate) pids: bool,

    /// What comes first: the largest number, or the first name; for the id that is the newest
    #[arg(short, long, value_name = "COLUMN", default_value = "id")]
    pub(crate) sort: Column,

    /// The other way round
    #[arg(short, long)]
    pub(crate) reverse: bool,

    /// Only these columns, between commas, without the users of each buffer
    #[arg(short = 'o', long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) columns: Vec<Column>,
}

impl List {
    pub(crate) fn wants_processes(&self) -> bool {
        self.pids || self.sort == Column::Pids || self.columns.contains(&Column::Pids)
    }
}

/// A column of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Column {
    /// The buffer's number
    Id,
    /// The number of its inode
    Inode,
    /// Its name
    Name,
    /// Its length
    Size,
    /// Whether it has memory
    State,
    /// Who provided the memory
    Allocator,
    /// How many users there are
    Users,
    /// How many of them have it mapped
    Maps,
    /// How many mappings of the kernel there are
    KernelMaps,
    /// How many hold the memory where it is
    Holders,
    /// How many declarations wait for it
    Waiting,
    /// How often a user came too late
    Late,
    /// How often the memory was relocated
    Relocations,
    /// How many refusals there were
    Refusals,
    /// What all users need together
    Needs,
    /// Which processes have it open or mapped
    Pids,
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
    match text.parse() {
        Ok(seconds) if (0.01..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!(
            "\"{text}\" is no number of seconds from 0.01 to 86400"
        )),
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The number of the buffer
    #[arg(value_name = "BUFFER", conflicts_with_all = ["fd", "pid"],
          add = ArgValueCompleter::new(complete::buffers))]
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
    #[arg(long, value_name = "CLASSES", add = ArgValueCompleter::new(complete::classes))]
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

    /// One contiguous range: the same as --max-segments 1
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

    /// Where sysfs is, which tells what devices there are
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath,
          default_value = "/sys")]
    pub(crate) sysfs: PathBuf,

    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the policy that holds now, and which entries match a device
    #[command(after_long_help = manual::POLICY_SHOW)]
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
    /// care". It binds devices that attach from then on. What changes is printed: with a minus what
    /// held before, with a plus what holds then, and whether there is such a device now.
    #[command(after_long_help = manual::POLICY_LOAD)]
    Load {
        /// Where from; standard input without it
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,

        /// Load the recipe of a board, by default of this one; see `policy recipes`
        #[arg(long, value_name = "BOARD", num_args = 0..=1, conflicts_with = "file",
              value_parser = PossibleValuesParser::new(Recipe::names()))]
        board: Option<Option<String>>,

        /// Remove what is set for devices that are not in the file
        #[arg(long)]
        prune: bool,

        /// Only check the file, and say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// List the recipes, which are policies for boards, or print one
    ///
    /// A recipe has what the kernel does not know of a board, and says of each entry why.
    #[command(after_long_help = manual::POLICY_RECIPES)]
    Recipes {
        /// The one to print
        #[arg(value_parser = PossibleValuesParser::new(Recipe::names()))]
        board: Option<String>,
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
            "cenalloc query 1 --fd 2",
            "cenalloc list --sort odd",
            "cenalloc list --columns id,odd",
            "cenalloc watch --interval 0",
            "cenalloc watch --interval NaN",
            "cenalloc device",
            "cenalloc policy load --board odd",
            "cenalloc policy load --board rk3588 file",
            "cenalloc policy recipes odd",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
