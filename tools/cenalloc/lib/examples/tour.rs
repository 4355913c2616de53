// SPDX-License-Identifier: GPL-2.0

//! A buffer from its beginning to a refusal: `tour [DEVICE-FILE]...`
//!
//! Declares the devices behind the files and a display that takes one contiguous range below 4 GiB,
//! allocates, writes and reads, and then has somebody join who is refused. At the end it waits
//! until its standard input ends, so that `cenalloc query BUFFER` and others can look.

use cenalloc::{Constraints, Declaration, Device, Error, Limit};
use std::{fs::File, io::Read};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::open()?;
    for allocator in device.allocators()? {
        println!(
            "allocator {}: priority {}",
            allocator.name, allocator.priority
        );
    }

    let buffer = device.create(100_000).name("tour").build()?;
    println!("buffer {}: {} bytes", buffer.id(), buffer.len());

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
        Err(Error::Refused { reason, .. }) => println!("{reason}"),
        other => println!("not refused: {other:?}"),
    }

    println!("{:#?}", buffer.query()?);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
