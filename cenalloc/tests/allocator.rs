// SPDX-License-Identifier: GPL-2.0

//! Which allocator provides the memory, and what is said where none does.

use crate::{
    allocator::{
        any_could,
        pages::{
            Effort,
            Source, //
        },
        would_provide,
        Allocator,
        Description,
        Devices,
        Need,
        Registration,
        Shortage, //
    },
    backing::{
        seek,
        Backing, //
    },
    provision::Provision, //
};
use dma_buf_constraints::{
    attach::Refused,
    model::{
        Cause,
        Field,
        Misfit,
        Name,
        Placement,
        Refusal,
        Strength, //
    }, //
};
use kernel::{
    module::this_module,
    page::PAGE_SIZE,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

const PAGE: u64 = PAGE_SIZE as u64;

/// How many numbers tests have taken.
static TAKEN: Atomic<u32> = Atomic::new(0);

/// Returns a number that no other test has, so that a failed test does not disturb others.
fn number() -> u32 {
    TAKEN.fetch_add(1, Relaxed)
}

/// Returns a class of memory that neither this module nor another test has.
fn class() -> u64 {
    1 << (16 + number() % 48)
}

/// The most that an allocator of these tests gives to one buffer.
const MAX_LEN: u64 = 4 * PAGE;

/// What an allocator does when it is asked for memory.
#[derive(Clone, Copy)]
enum Answer {
    Give,
    Fail(Shortage),
}

/// Gives pages, or an error.
struct Asked {
    answer: Answer,
    /// How often it was asked for memory.
    times: Atomic<u32>,
}

// SAFETY: The memory is of the page allocator, and freed with the provision. The registrations are
// in this module's tests, which end before it goes.
unsafe impl Allocator for Asked {
    fn max_len(&self) -> u64 {
        MAX_LEN
    }

    fn is_contiguous(&self) -> bool {
        true
    }

    fn could(&self, need: &Need) -> Result<(), Misfit> {
        if need.placement.alignment <= PAGE {
            return Ok(());
        }
        Err(Misfit {
            field: Field::Alignment,
            wanted: need.placement.alignment,
            found: PAGE,
        })
    }

    fn has_room(&self, _need: &Need) -> Result<(), Shortage> {
        match self.answer {
            Answer::Give => Ok(()),
            Answer::Fail(shortage) => Err(shortage),
        }
    }

    fn allocate(&self, need: &Need, _devices: &Devices<'_>) -> Result<Provision, Shortage> {
        self.times.fetch_add(1, Relaxed);
        if let Answer::Fail(error) = self.answer {
            return Err(error);
        }
        let effort = Effort {
            reclaim: true,
            search: false,
        };
        let pages = (need.len / PAGE) as usize;
        let chunk = Source::new(need).chunk(2, pages, effort)?;
        let mut provision = Provision::chunks();
        provision.push(chunk)?;
        Ok(provision)
    }
}

/// An allocator that is registered.
struct Registered {
    name: Name,
    allocator: Arc<Asked>,
    registration: Registration,
}

impl Registered {
    fn new(class: u64, priority: u32, answer: Answer) -> Result<Self> {
        let name = CString::try_from_fmt(fmt!("test-{}", number()))?;
        Self::with_name(Name::new(name.to_bytes()), class, priority, answer)
    }

    fn with_name(name: Name, class: u64, priority: u32, answer: Answer) -> Result<Self> {
        let asked = Asked {
            answer,
            times: Atomic::new(0),
        };
        let allocator = Arc::new(asked, GFP_KERNEL)?;
        let description = Description {
            name,
            class,
            priority,
        };
        let module = this_module::<crate::LocalModule>();
        Ok(Self {
            name,
            registration: Registration::new(module, description, allocator.clone())?,
            allocator,
        })
    }

    /// Returns how often it was asked for memory.
    fn times(&self) -> u32 {
        self.allocator.times.load(Relaxed)
    }
}

/// Returns the need of a buffer of two pages, of memory of these classes.
fn need(access_mask: u64) -> Need {
    Need {
        len: 2 * PAGE,
        placement: Placement {
            access_mask,
            ..Placement::ANY
        },
        killable: false,
        preference: Strength::None,
    }
}

/// Returns memory for `need`.
fn get(need: &Need) -> Result<Arc<Backing>> {
    seek(need, &Devices::NONE, |_| true).map_err(|failure| failure.error())
}

/// Returns why there is no memory for `need`.
fn lack(need: &Need) -> Result<Refusal> {
    match seek(need, &Devices::NONE, |_| true) {
        Ok(_) => Err(EEXIST),
        Err(failure) => match failure.refusal(need) {
            Refused::Because(refusal) => Ok(refusal),
            Refused::Failed(error) => Err(error),
        },
    }
}

/// Returns the allocator that provides memory of these classes.
fn provider(access_mask: u64) -> Result<Name> {
    Ok(*get(&need(access_mask))?.allocator().name())
}

/// Returns the allocator that comes nearest to `need`, which none could ever satisfy, and what it
/// lacks.
fn lacking(need: &Need) -> Option<(Name, Field)> {
    let unserved = any_could(need, &Devices::NONE).err()?;
    Some((unserved.allocator, unserved.misfit.field))
}

#[kunit_tests(cenalloc_allocator)]
mod cases {
    use super::*;

    #[test]
    fn highest_priority_is_asked_first() -> Result {
        let class = class();
        let low = Registered::new(class, 1, Answer::Give)?;
        let high = Registered::new(class, 3, Answer::Give)?;
        let middle = Registered::new(class, 2, Answer::Give)?;
        assert_eq!(provider(class)?, high.name);
        drop(high);
        assert_eq!(provider(class)?, middle.name);
        assert_eq!(middle.times(), 1);
        assert_eq!(low.times(), 0);
        Ok(())
    }

    #[test]
    fn first_of_one_priority_is_asked_first() -> Result {
        let class = class();
        let first = Registered::new(class, 2, Answer::Give)?;
        let _lower = Registered::new(class, 1, Answer::Give)?;
        let second = Registered::new(class, 2, Answer::Give)?;
        assert_eq!(provider(class)?, first.name);
        assert_eq!(second.times(), 0);
        Ok(())
    }

    #[test]
    fn next_is_asked_where_one_fails() -> Result {
        let class = class();
        let full = Registered::new(class, 4, Answer::Fail(Shortage::Memory))?;
        let odd = Registered::new(class, 3, Answer::Fail(EIO.into()))?;
        let gives = Registered::new(class, 2, Answer::Give)?;
        let spare = Registered::new(class, 1, Answer::Give)?;
        assert_eq!(provider(class)?, gives.name);
        for (asked, times) in [(&full, 1), (&odd, 1), (&gives, 1), (&spare, 0)] {
            assert_eq!(asked.times(), times);
        }
        Ok(())
    }

    #[test]
    fn next_is_asked_where_memory_does_not_fit() -> Result {
        let class = class();
        let high = Registered::new(class, 2, Answer::Give)?;
        let low = Registered::new(class, 1, Answer::Give)?;
        let fits = |backing: &Backing| *backing.allocator().name() != high.name;
        let backing = seek(&need(class), &Devices::NONE, fits);
        let backing = backing.map_err(|failure| failure.error())?;
        assert_eq!(*backing.allocator().name(), low.name);
        assert_eq!(high.times(), 1);
        Ok(())
    }

    #[test]
    fn nobody_is_asked_for_who_is_killed_or_may_have_no_more() -> Result {
        for (shortage, error) in [(Shortage::Killed, EINTR), (Shortage::Charge, ENOMEM)] {
            let class = class();
            let _high = Registered::new(class, 2, Answer::Fail(shortage))?;
            let low = Registered::new(class, 1, Answer::Give)?;
            assert_eq!(get(&need(class)).err(), Some(error));
            assert_eq!(low.times(), 0);
        }
        Ok(())
    }

    #[test]
    fn lack_of_memory_is_told() -> Result {
        let (one, other) = (class(), class());
        let both = need(one | other);
        // None could give any.
        let removed = Refusal {
            len: 2 * PAGE,
            ..Refusal::new(Cause::Removed)
        };
        assert_eq!(lack(&both)?, removed);

        let first = Registered::new(one, 3, Answer::Fail(Shortage::Memory))?;
        let second = Registered::new(other, 2, Answer::Fail(Shortage::Memory))?;
        let mut low = both;
        low.placement.max_address = u64::from(u32::MAX);
        let shortage = Refusal {
            other: first.name,
            len: 2 * PAGE,
            max_address: u64::from(u32::MAX),
            classes: one | other,
            ..Refusal::new(Cause::Shortage)
        };
        assert_eq!(lack(&low)?, shortage);
        drop(second);

        // Whoever may have no more is not served by another.
        let _charged = Registered::new(other, 2, Answer::Fail(Shortage::Charge))?;
        let refusal = lack(&both)?;
        assert_eq!(refusal.cause, Cause::Charge);
        assert_eq!(refusal.classes, one | other);
        let killed = class();
        let _killed = Registered::new(killed, 1, Answer::Fail(Shortage::Killed))?;
        assert_eq!(lack(&need(killed)), Err(EINTR));
        Ok(())
    }

    #[test]
    fn question_takes_no_memory() -> Result {
        let class = class();
        let full = Registered::new(class, 2, Answer::Fail(Shortage::Memory))?;
        let gives = Registered::new(class, 1, Answer::Give)?;
        let would = || would_provide(&need(class)).map_err(|failure| failure.error());
        assert_eq!(would(), Ok(gives.name));
        assert_eq!((full.times(), gives.times()), (0, 0));
        drop(gives);
        assert_eq!(would(), Err(ENOMEM));
        Ok(())
    }

    #[test]
    fn nearest_lacks_least() -> Result {
        // The class of the system's memory, which others have more of.
        let mut long = need(crate::c::CENALLOC_CLASS_SYSTEM.into());
        long.len = 1 << 50;
        let short = Registered::new(crate::c::CENALLOC_CLASS_SYSTEM.into(), 1, Answer::Give)?;
        assert_ne!(Some((short.name, Field::Length)), lacking(&long));
        assert_eq!(Some((Name::new(b"system"), Field::Length)), lacking(&long));
        Ok(())
    }

    #[test]
    fn page_allocator_keeps_no_block_for_less() -> Result {
        let mut coarse = need(crate::c::CENALLOC_CLASS_SYSTEM_CONTIG.into());
        coarse.placement.alignment = 2 * PAGE;
        assert_eq!(lacking(&coarse), None);
        coarse.placement.alignment = 4 * PAGE;
        assert_eq!(
            lacking(&coarse),
            Some((Name::new(b"system-contig"), Field::Alignment))
        );
        coarse.len = 3 * PAGE;
        assert_eq!(lacking(&coarse), None);
        Ok(())
    }

    #[test]
    fn class_rules_out() -> Result {
        let (red, blue) = (class(), class());
        let red_one = Registered::new(red, 2, Answer::Give)?;
        let blue_one = Registered::new(blue, 1, Answer::Give)?;
        assert_eq!(provider(blue)?, blue_one.name);
        assert_eq!(red_one.times(), 0);
        assert_eq!(provider(red | blue)?, red_one.name);
        Ok(())
    }

    #[test]
    fn never_is_not_out_of_memory_now() -> Result {
        let class = class();
        let full = Registered::new(class, 1, Answer::Fail(Shortage::Memory))?;
        assert_eq!(lacking(&need(class)), None);
        assert_eq!(get(&need(class)).err(), Some(ENOMEM));
        assert_eq!(full.times(), 1);

        let mut long = need(class);
        long.len = MAX_LEN + PAGE;
        assert_eq!(lacking(&long), Some((full.name, Field::Length)));
        let mut in_one_range = long;
        in_one_range.placement.max_segments = 1;
        assert_eq!(lacking(&in_one_range), Some((full.name, Field::Contiguous)));
        let mut aligned = need(class);
        aligned.placement.alignment = 2 * PAGE;
        assert_eq!(lacking(&aligned), Some((full.name, Field::Alignment)));
        let mut coherent = need(class);
        coherent.placement.coherent = true;
        assert_eq!(lacking(&coherent), Some((full.name, Field::Coherent)));
        for never in [long, in_one_range, aligned, coherent, need(super::class())] {
            assert_eq!(get(&never).err(), Some(EINVAL));
        }
        assert_eq!(full.times(), 1);
        Ok(())
    }

    #[test]
    fn memory_keeps_its_allocator() -> Result {
        let class = class();
        let allocator = Registered::new(class, 1, Answer::Give)?;
        let backing = get(&need(class))?;
        assert_eq!(backing.allocator().used(), 2 * PAGE);
        let removed = allocator.registration.remove();
        let (error, registration) = removed.err().ok_or(EINVAL)?;
        assert_eq!(error, EBUSY);
        let other = get(&need(class))?;
        assert_eq!(other.allocator().used(), 4 * PAGE);

        drop(backing);
        drop(other);
        assert!(registration.remove().is_ok());
        assert_eq!(get(&need(class)).err(), Some(EINVAL));
        Ok(())
    }

    #[test]
    fn refused_registration_changes_nothing() -> Result {
        let (red, blue) = (class(), class());
        let red_one = Registered::new(red, 1, Answer::Give)?;
        let new_name = Name::new(b"test-refused");
        for (name, class, error) in [
            (red_one.name, blue, EEXIST),
            (new_name, red | blue, EINVAL),
            (Name::new(b""), blue, EINVAL),
        ] {
            let refused = Registered::with_name(name, class, 2, Answer::Give);
            assert_eq!(refused.err(), Some(error));
        }
        assert_eq!(get(&need(blue)).err(), Some(EINVAL));
        assert_eq!(provider(red)?, red_one.name);
        assert_eq!(red_one.times(), 1);
        Ok(())
    }
}
