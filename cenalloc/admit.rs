// SPDX-License-Identifier: GPL-2.0

//! Which users a buffer accepts, and when its memory is relocated for a newcomer.
//!
//! A buffer without memory is narrowed by each newcomer. A buffer with memory accepts newcomers
//! that the memory suits. For another one the memory is relocated unless it is pinned; if it is,
//! the newcomer is refused late.

use crate::{
    allocator::{
        self,
        Devices,
        Need,
        Unserved, //
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
    client::{
        Attachment,
        Client, //
    },
    registry,
    trace, //
};
use dma_buf_constraints::{
    attach::{
        Newcomer,
        Proposal,
        Refused, //
    },
    dma_buf::{
        DmaBuf,
        Guard, //
    },
    model::{
        Choice,
        Conflict,
        Field,
        Misfit,
        Name,
        Party, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The outcome for a newcomer.
enum Verdict {
    /// It has joined.
    Joined(Arc<Attachment>),
    /// The present memory does not suit it, and other memory for all could: the need that this
    /// memory has to satisfy, the choice that counts for it, and what is wrong with the present
    /// memory.
    Late(Newcomer<Client>, Need, Choice, Misfit),
}

impl Buffer {
    /// Lets `newcomer` join, or refuses it; a refusal changes nothing.
    ///
    /// `EINVAL` where it can never share this buffer with the other users; `EBUSY` where it could
    /// have joined before the buffer got memory that is now pinned or has no replacement; `EINTR`,
    /// `ERESTARTSYS`, `ENOMEM`.
    pub(crate) fn admit(
        &self,
        guard: &mut Guard<'_, State>,
        dmabuf: &DmaBuf,
        newcomer: Newcomer<Client>,
    ) -> Result<Arc<Attachment>> {
        let verdict = match self.judge(guard, newcomer)? {
            Verdict::Late(newcomer, need, choice, misfit) => {
                let who = newcomer.user().name();
                match self.relocate(guard, dmabuf, &need, choice, newcomer) {
                    Ok(newcomer) => self.judge(guard, newcomer)?,
                    Err(error @ (EINTR | ERESTARTSYS)) => return Err(error),
                    Err(_) => return Err(self.too_late(guard, who, misfit)),
                }
            }
            verdict => verdict,
        };
        match verdict {
            Verdict::Joined(user) => {
                let mask = guard.users.combined().placement.access_mask;
                guard.tell_access_mask(dmabuf, mask);
                Ok(user)
            }
            Verdict::Late(newcomer, _, _, misfit) => {
                Err(self.too_late(guard, newcomer.user().name(), misfit))
            }
        }
    }

    /// Lets `newcomer` join if the present memory suits it. Fails as [`admit`](Self::admit).
    fn judge(&self, state: &mut State, newcomer: Newcomer<Client>) -> Result<Verdict> {
        let State { users, life, .. } = state;
        let before = users.combined().placement;
        let mut proposal = match users.propose(newcomer) {
            Ok(proposal) => proposal,
            Err(Refused::Failed(error)) => return Err(error),
            Err(Refused::Conflict(conflict)) => {
                self.refuse(state, conflict, EINVAL);
                return Err(EINVAL);
            }
        };
        let (need, misfit) = loop {
            let need = self.need(proposal.outcome().combined());
            let declared;
            let device = match &proposal.newcomer().data.attached {
                Some(attached) => Some(attached.tables.device()),
                None => {
                    declared = proposal.newcomer().data.device();
                    declared.as_deref()
                }
            };
            let devices = Devices::of(proposal.users()).with(device);
            let misfit = match life {
                Life::Empty | Life::Gone => None,
                Life::Backed(backing) => proposal.misfit(&backing.memory()).or_else(|| {
                    let is_served = backing.serves(&need, &devices);
                    (!is_served).then_some(Misfit::UNSERVED)
                }),
            };
            // That some allocator could satisfy the former needs was checked when they came about.
            let is_news = need.placement != before || allocator::any_selective();
            if is_news && (matches!(life, Life::Empty) || misfit.is_some()) {
                if let Err(unserved) = allocator::any_could(&need, &devices) {
                    let conflict = unserved_conflict(&proposal, unserved);
                    if proposal.take_second() {
                        continue;
                    }
                    self.refuse(state, conflict, EINVAL);
                    return Err(EINVAL);
                }
            }
            break (need, misfit);
        };
        if let Some(misfit) = misfit {
            let choice = proposal.choice();
            return Ok(Verdict::Late(proposal.give_up(), need, choice, misfit));
        }
        let is_changing = proposal.changes_others();
        let user = proposal.commit();
        if is_changing {
            // Idle tables were cut to the former needs.
            state.forget_tables();
        }
        Ok(Verdict::Joined(user))
    }

    /// Records and logs the refusal of a user with `error`.
    pub(crate) fn refuse(&self, state: &mut State, conflict: Conflict, error: Error) {
        trace::refuse(self.id, &conflict, error);
        registry::set_last_conflict(self.id, conflict);
        // Without memory for it the refusal is logged, but not kept.
        state.conflict = KBox::new(conflict, GFP_KERNEL_ACCOUNT).ok();
        // SAFETY: The call takes no arguments; its rate limit is a static with a lock of its own.
        if unsafe { c::cenalloc_may_log() } {
            // The log may be readable by users who must not learn where memory lies.
            pr_info!("buffer {}: {}\n", self.id, conflict.without_address());
        }
    }

    /// Refuses `who`, which the present memory does not suit, and counts the late refusal for the
    /// buffer and for each user that has the memory pinned. Returns `EBUSY`.
    fn too_late(&self, state: &mut State, who: Name, misfit: Misfit) -> Error {
        state.late_refusals = state.late_refusals.saturating_add(1);
        for user in state.users.iter_mut() {
            if user.data.holds_memory() {
                user.data.late_refusals = user.data.late_refusals.saturating_add(1);
                trace::late_refusal(self.id, user);
            }
        }
        let conflict = Conflict {
            who,
            misfit,
            with: Party::Memory(held_by(state)),
        };
        self.refuse(state, conflict, EBUSY);
        EBUSY
    }

    /// Relocates the buffer to memory that satisfies `need` and suits all users and `newcomer`,
    /// where `choice` counts. Gives `newcomer` back.
    ///
    /// `EBUSY` where the memory is pinned, `ENOMEM` where no other can be had, `EINTR`,
    /// `ERESTARTSYS`. On an error the buffer keeps its memory and its bytes.
    fn relocate(
        &self,
        guard: &mut Guard<'_, State>,
        dmabuf: &DmaBuf,
        need: &Need,
        choice: Choice,
        newcomer: Newcomer<Client>,
    ) -> Result<Newcomer<Client>> {
        let Life::Backed(old) = &guard.life else {
            return Err(EBUSY);
        };
        let old = old.clone();
        let is_held = guard.users.iter().any(|user| user.data.holds_memory());
        let in_kernel = guard.kernel_mapping.is_some();
        if is_held || in_kernel || guard.exposed.is_told() || !guard.is_idle() {
            return Err(EBUSY);
        }
        let mut proposal = guard.users.propose(newcomer).map_err(|_| EBUSY)?;
        if choice == Choice::Second {
            proposal.take_second();
        }
        let fits = |backing: &Backing| proposal.misfit_of_all(&backing.memory()).is_none();
        let device = proposal.newcomer().data.device();
        let devices = Devices::of(proposal.users()).with(device.as_deref());
        let new = self.payer.charge(|| backing::provide(need, &devices, fits));
        trace::allocate(self.id, self.len, &new);
        let new = new?;
        let newcomer = proposal.give_up();

        // Dynamic importers finish and unmap from here on; what they still have mapped keeps the
        // old memory until they unmap it.
        guard.invalidate_mappings(dmabuf);
        guard.wait_idle()?;
        // A process that touches the buffer from here on waits in its fault for the lock.
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
        Ok(newcomer)
    }
}

/// Returns the name of what pins the memory: a user, or a driver that knows its address.
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

/// Returns the conflict of a newcomer with what allocators can give, where no user conflicts with
/// it.
fn unserved_conflict(proposal: &Proposal<'_, Client>, unserved: Unserved) -> Conflict {
    // The newcomer may have brought only the class, and another user the need that no memory of
    // this class satisfies.
    let Misfit { field, wanted, .. } = unserved.misfit;
    let is_of_users = !matches!(field, Field::Length | Field::Device);
    let behind = if is_of_users && proposal.constraints().placement.get(field) != wanted {
        proposal.users().binding(field).map(|user| user.name())
    } else {
        None
    };
    Conflict {
        who: proposal.newcomer().name(),
        misfit: unserved.misfit,
        with: Party::Allocator(unserved.allocator, behind),
    }
}
