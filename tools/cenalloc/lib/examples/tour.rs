// SPDX-License-Identifier: GPL-2.0

//! A buffer from its beginning to a refusal: `tour [DEVICE-FILE]...`
//!
//! Declares the devices behind the files and a display that takes one contiguous run below 4 GiB,
//! allocates, writes and reads, and then has somebody join who comes too late. At the end it
//! waits until its standard input ends, so that `cenalloc query --pid PID --fd FD` can look.

use cenalloc::{Constraints, Declaration, Device, Error, Limit};
use std::{fs::File, io::Read, os::fd::AsRawFd};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::open()?;
    for allocator in device.allocators()? {
        println!(
            "allocator {}: priority {}",
            allocator.name, allocator.priority
        );
    }

    let buffer = device.create(100_000).name("tour").build()?;
    println!("{} bytes", buffer.len());

    for path in std::env::args().skip(1) {
        let user = buffer.declare_file(File::open(&path)?)?;
        println!("{path}: {} {}, driver {}", user.bus, user.name, user.driver);
    }
    let below_4g: Limit = "2^32".parse()?;
    let display = Constraints::ANY.contiguous().max_address(below_4g.0);
    buffer.declare(Declaration::from(display).name("display"))?;

    buffer.allocate()?;
    let mut memory = buffer.map()?;
    let mut access = memory.write()?;
    access.copy_from(99_990, b"last bytes");
    drop(access);
    let mut bytes = [0; 10];
    memory.read()?.copy_to(99_990, &mut bytes);
    println!("read back: {}", String::from_utf8_lossy(&bytes));

    // No memory has such a class.
    let late = Declaration::from(Constraints::ANY.classes(cenalloc::Classes(1 << 63)));
    match buffer.declare(late.name("stranger")) {
        Err(error @ (Error::Never { .. } | Error::TooLate { .. })) => {
            println!("{error}");
            for advice in error
                .reason()
                .iter()
                .flat_map(|reason| reason.conflict.advice())
            {
                println!("  {advice}");
            }
        }
        other => println!("not refused: {other:?}"),
    }

    println!("{}", buffer.query()?.text);
    println!("pid {} fd {}", std::process::id(), buffer.as_raw_fd());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
