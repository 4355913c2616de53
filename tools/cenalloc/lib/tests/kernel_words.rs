// SPDX-License-Identifier: GPL-2.0

//! The kernel's own words, from the very files that go into the module, are those that this
//! library reads and writes.

#[path = "../../../../dma_buf_constraints"]
mod kernel {
    #[allow(dead_code, unused_imports, clippy::all)]
    pub mod model;
}

use cenalloc::{Conflict, Field, Party};
use kernel::model;
use proptest::{option::of, prelude::*};

fn names() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9:._-]{0,12}( [0-9a-f]{4}:[0-9a-f]{2}[.]0)?"
}

fn name(name: &str) -> model::Name {
    model::Name::new(name.as_bytes())
}

const FIELDS: [(model::Field, Field); 9] = [
    (model::Field::AccessMask, Field::AccessMask),
    (model::Field::MaxAddress, Field::MaxAddress),
    (model::Field::MaxSegments, Field::MaxSegments),
    (model::Field::MaxSegmentSize, Field::MaxSegmentSize),
    (model::Field::SegmentBoundary, Field::SegmentBoundary),
    (model::Field::Alignment, Field::Alignment),
    (model::Field::Coherent, Field::Coherent),
    (model::Field::Length, Field::Length),
    (model::Field::Device, Field::Device),
];

/// A party for the kernel, and the same for the library.
fn parties() -> impl Strategy<Value = (model::Party, Party)> {
    (0..6, names(), of(names())).prop_map(|(kind, a, b)| {
        let other = b.as_deref().map(name);
        match kind {
            0 => (model::Party::Device(name(&a)), Party::User(a)),
            1 => (model::Party::Others, Party::Others),
            2 => (model::Party::Itself, Party::Itself),
            3 => (
                model::Party::Allocator(name(&a), other),
                Party::Allocator { name: a, behind: b },
            ),
            4 => (model::Party::Memory(other), Party::Memory { mapped_by: b }),
            _ => (model::Party::Bounce, Party::Bounce),
        }
    })
}

proptest! {
    #[test]
    fn reasons(
        who in names(),
        field in proptest::sample::select(FIELDS.as_slice()),
        wanted in any::<u64>(),
        found in any::<u64>(),
        party in parties(),
    ) {
        let words = model::Conflict {
            who: name(&who),
            misfit: model::Misfit { field: field.0, wanted, found },
            with: party.0,
        }
        .to_string();
        let mut expected = Conflict { who, field: field.1, wanted, found, with: party.1 };
        prop_assert_eq!(&expected.to_string(), &words);
        // What is none in its own mask is not told.
        if expected.with == Party::Itself && expected.field == Field::AccessMask {
            expected.found = 0;
        }
        // Nor the numbers of what is or is not.
        if expected.field == Field::Coherent {
            expected.wanted = 1;
            expected.found = match expected.with {
                Party::User(_) | Party::Others => 1,
                Party::Bounce => found,
                _ => 0,
            };
        }
        if expected.field == Field::Device {
            expected.wanted = 0;
            expected.found = match expected.with {
                Party::Itself | Party::Bounce => found,
                _ => 0,
            };
        }
        prop_assert_eq!(words.parse(), Ok(expected));
    }
}

#[test]
fn fields_have_the_same_numbers() {
    assert!(FIELDS.map(|(_, field)| field).iter().eq(&Field::ALL));
    for (number, (kernel, _)) in (1..).zip(FIELDS) {
        assert_eq!(kernel as u32, number);
    }
}
