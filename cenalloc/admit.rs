// SPDX-License-Identifier: GPL-2.0

//! Who may use a buffer, and when its memory moves for a newcomer.
//!
//! A buffer without memory is narrowed. One with memory takes whom its memory fits; for others
//! the memory moves if nobody holds it where it is, and otherwise they come too late.

use crate::{
    allocator::{
        self,
        Devices,
        Need, //
    },
    backing::{
        self,
        Backing, //
    },
    buffer::{
        Buffer,
        Life,
        State, //
    },
    c,
    client::Client,
    registry,
    trace, //
};
use dma_buf_constraints::{
    attach::{
        Identity,
        Proposal,
        Slot,
        Users, //
    },
    dma_buf::{
        DmaBuf,
        Guard, //
    },
    model::{
        Conflict,
        Field,
        Misfit,
        Name,
        Needs,
        Party, //
    },
};
use kernel::{
    device::Device,
    page::PAGE_SIZE,
    prelude::*, //
};

impl Buffer {
    /// Lets `client`, which has `needs`, join, or says why not; then nothing has changed.
    ///
    /// `EINVAL` where it can never share this buffer with those who use it; `EBUSY` where it could
    /// have, before the buffer had memory that now cannot move: somebody holds it, or there is no
    /// other; `EINTR`, `ENOMEM`.
    pub(crate) fn admit(
        &self,
        guard: &mut Guard<'_, State>,
        dmabuf: &DmaBuf,
        needs: &Needs,
        client: Client,
    ) -> Result<Slot> {
        let considered = guard.users.consider(needs, &client);
        let proposal = match &considered {
            Ok(proposal) => proposal,
            Err(conflict) => {
                self.refuse(guard, *conflict, EINVAL);
                return Err(EINVAL);
            }
        };
        let need = Need {
            len: self.len,
            placement: proposal.meet().placement,
            killable: true,
        };
        let devices = Devices::of(&guard.users).with(client.device());
        let misfit = match &guard.life {
            Life::Empty | Life::Gone => None,
            Life::Backed(backing) => misfit(&guard.users, proposal, backing).or_else(|| {
                let is_served = backing.serves(&need, &devices);
                (!is_served).then_some(Misfit::UNSERVED)
            }),
        };
        // What all needed before, somebody could give: that was checked when it came about.
        let is_news = need.placement != guard.users.meet().placement || allocator::any_selective();
        if is_news && (matches!(guard.life, Life::Empty) || misfit.is_some()) {
            if let Err(unserved) = allocator::any_could(&need, &devices) {
                let conflict = unserved_conflict(guard, proposal, client.name(), unserved);
                self.refuse(guard, conflict, EINVAL);
                return Err(EINVAL);
            }
        }
        let place = guard.users.reserve(needs, &client, client.flags())?;
        if let Some(misfit) = misfit {
            let newcomer = client.device();
            if let Err(error) = self.relocate(guard, dmabuf, &need, newcomer, proposal) {
                if error == EINTR {
                    return Err(error);
                }
                let conflict = Conflict {
                    who: client.name(),
                    misfit,
                    with: Party::Memory(held_by(guard)),
                };
                self.count_early(guard);
                self.refuse(guard, conflict, EBUSY);
                return Err(EBUSY);
            }
        }
        let slot = guard.users.commit(place, proposal, client);
        if proposal.is_unifying() {
            // Tables were cut to what users needed before.
            guard.forget_tables();
        }
        guard.tell_access_mask(dmabuf);
        Ok(slot)
    }

    /// Takes out the user in `slot`.
    ///
    /// As long as there is no memory, those whom an ancestor unified with it go back to their own
    /// needs, if that is possible.
    pub(crate) fn dismiss(&self, state: &mut State, slot: Slot) {
        state.users.release(slot);
        if let Life::Empty = state.life {
            state.users.restore(|users, meet| {
                let need = Need {
                    len: self.len,
                    placement: meet.placement,
                    killable: true,
                };
                allocator::any_could(&need, &Devices::of(users)).is_ok()
            });
        }
    }

    /// Remembers and tells why somebody was refused with `error`.
    pub(crate) fn refuse(&self, state: &mut State, conflict: Conflict, error: Error) {
        trace::refuse(self.id, &conflict, error);
        registry::set_last_conflict(self.id, conflict);
        // For want of memory it is only told, not kept.
        state.conflict = KBox::new(conflict, GFP_KERNEL).ok();
        // SAFETY: No requirements.
        if unsafe { c::cenalloc_may_log() } {
            pr_info!("buffer {}: {}\n", self.id, conflict);
        }
    }

    /// Somebody came too late: counts it, for the buffer and for those who hold its memory.
    fn count_early(&self, state: &mut State) {
        state.early = state.early.saturating_add(1);
        for user in state.users.iter_mut() {
            if user.data.holds_memory() {
                user.data.early = user.data.early.saturating_add(1);
                trace::early(self.id, user);
            }
        }
    }

    /// Moves the buffer to memory that satisfies `need`, and fits all under `proposal`.
    ///
    /// `EBUSY` where somebody holds the memory where it is, `ENOMEM` where there is no other,
    /// `EINTR`. On an error the memory is the old one, with its bytes.
    fn relocate(
        &self,
        guard: &mut Guard<'_, State>,
        dmabuf: &DmaBuf,
        need: &Need,
        newcomer: Option<&Device>,
        proposal: &Proposal<'_>,
    ) -> Result {
        let Life::Backed(old) = &guard.life else {
            return Err(EBUSY);
        };
        let old = old.clone();
        let is_held = guard.users.iter().any(|user| user.data.holds_memory());
        let in_kernel = guard.kernel_mapping.is_some();
        let in_section = guard.cpu_sections > 0;
        if is_held || in_kernel || in_section || guard.exposed.is_told() || !guard.is_idle() {
            return Err(EBUSY);
        }
        let users = &guard.users;
        let fits = |backing: &Backing| users.misfit_with(proposal, &backing.memory()).is_none();
        let devices = Devices::of(users).with(newcomer);
        let new = self.payer.charge(|| backing::provide(need, &devices, fits));
        trace::allocate(self.id, self.len, &new);
        let new = new?;

        // From here on, dynamic importers hear of it and finish; what they have mapped keeps the
        // old memory until they unmap it.
        guard.invalidate_mappings(dmabuf);
        guard.wait_idle()?;
        // Whoever touches the buffer now waits in the fault for the lock.
        guard.zap_user_mappings(dmabuf);
        for user in guard.users.iter() {
            if let Some(attached) = &user.data.attached {
                attached.tables.sync_for_cpu();
            }
        }
        new.copy_from(&old)?;
        trace::relocate(self.id, self.len, &old, &new);
        guard.life = Life::Backed(new);
        guard.forget_tables();
        guard.relocations = guard.relocations.saturating_add(1);
        Ok(())
    }
}

/// What `backing` does not satisfy once `proposal` is true.
fn misfit(users: &Users<Client>, proposal: &Proposal<'_>, backing: &Backing) -> Option<Misfit> {
    let memory = backing.memory();
    if proposal.is_unifying() {
        // What others need changes, too.
        return users.misfit_with(proposal, &memory);
    }
    proposal.constraints().misfit(&memory, PAGE_SIZE as u64)
}

/// Who holds the memory where it is: a user, or a driver that knows where that is.
fn held_by(state: &State) -> Option<Name> {
    let told = || {
        state
            .exposed
            .is_told()
            .then(|| Name::new(b"a driver that was told its address"))
    };
    let holder = state.users.iter().find(|user| user.data.holds_memory());
    holder.map(|user| user.name()).or_else(told)
}

/// The conflict of a newcomer with what allocators can give, when nobody else is against it.
fn unserved_conflict(
    state: &State,
    proposal: &Proposal<'_>,
    who: Name,
    unserved: allocator::Unserved,
) -> Conflict {
    // The newcomer may have brought the class alone, and somebody else the need that this class
    // of memory cannot satisfy.
    let Misfit { field, wanted, .. } = unserved.misfit;
    let is_of_users = !matches!(field, Field::Length | Field::Device);
    let behind = if is_of_users && proposal.constraints().placement.get(field) != wanted {
        state.users.binding(field).map(|user| user.name())
    } else {
        None
    };
    Conflict {
        who,
        misfit: unserved.misfit,
        with: Party::Allocator(unserved.allocator, behind),
    }
}
