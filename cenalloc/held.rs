// SPDX-License-Identifier: GPL-2.0

//! What holds a buffer's memory where it is: one list for the decision whether it can be relocated,
//! for refusals and for queries.

use crate::{
    buffer::State,
    client::Client, //
};
use dma_buf_constraints::{
    attach::User,
    dma_buf::Guard,
    model::Holder, //
};

/// Those that hold the memory of a buffer.
#[derive(Default)]
pub(crate) struct Held<'a> {
    /// How they do so, as bits.
    pub(crate) kinds: u32,
    /// How many there are.
    pub(crate) count: u32,
    /// How the first does so: those who never let go first, and devices that finish by themselves
    /// last.
    pub(crate) first: Option<Holder>,
    /// The first user that does so.
    pub(crate) user: Option<&'a User<Client>>,
}

impl<'a> Held<'a> {
    /// Returns those that hold the memory. Open sections of CPU access do not: a relocation keeps
    /// bytes and mappings.
    pub(crate) fn of(guard: &'a Guard<'_, State>) -> Self {
        let mut held = Self::default();
        if guard.exposed.told {
            held.add(Holder::Address, 1);
        }
        for user in guard.users.iter() {
            if let Some(holder) = user.data.holder() {
                held.add(holder, 1);
                held.user.get_or_insert(user);
            }
        }
        if guard.kernel_mapping.is_some() {
            held.add(Holder::Kernel, guard.kernel_mappings());
        }
        if !guard.is_idle() {
            held.add(Holder::Fence, 1);
        }
        held
    }

    fn add(&mut self, holder: Holder, count: u32) {
        self.first.get_or_insert(holder);
        self.kinds |= holder as u32;
        self.count += count;
    }
}
