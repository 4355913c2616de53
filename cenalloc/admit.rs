// SPDX-License-Identifier: GPL-2.0

//! Which users a buffer accepts, and when its memory is relocated for a newcomer.
//!
//! A buffer without memory is narrowed by each newcomer. A buffer with memory accepts newcomers
//! that the memory suits. For another one the memory is relocated unless somebody holds it; then
//! the newcomer is refused late, or waits.

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
        self,
        Attachment,
        Client, //
    },
    held::Held,
    registry,
    trace, //
};
use dma_buf_constraints::{
    attach::{
        Newcomer,
        Proposal,
        Refused, //
    },
    dma_buf::Guard,
    few::make_room,
    model::{
        Cause,
        Choice,
        Field,
        Misfit,
        Name,
        Preferences,
        Refusal, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        BootTime,
        ClockSource, //
    }, //
};

/// The outcome for a newcomer that is not refused for ever.
pub(crate) enum Outcome {
    /// It has joined.
    Joined(Arc<Attachment>),
    /// It comes too late, and why. It can be proposed again once those have let go that hold the
    /// memory.
    TooLate(Newcomer<Client>, Refusal),
}

/// The judgement of a newcomer.
enum Verdict {
    /// It has joined.
    Joined(Arc<Attachment>),
    /// The present memory does not suit it, and other memory for all could.
    Unsuited(Newcomer<Client>, Unsuited),
}

/// What is wrong with the present memory.
struct Unsuited {
    /// The need that the memory has to satisfy.
    need: Need,
    /// The choice that counts for it.
    choice: Choice,
    misfit: Misfit,
}

impl Unsuited {
    /// Returns the refusal of `who` for a cause that keeps the memory from being relocated.
    fn refusal(&self, who: Name, cause: Refusal) -> Refusal {
        Refusal {
            who,
            field: Some(self.misfit.field),
            wanted: self.misfit.wanted,
            found: self.misfit.found,
            len: self.need.len,
            max_address: self.need.placement.max_address,
            ..cause
        }
    }
}

impl Buffer {
    /// Lets `newcomer` join, or refuses it; a refusal changes nothing, and is recorded.
    pub(crate) fn admit(
        &self,
        guard: &mut Guard<'_, State>,
        newcomer: Newcomer<Client>,
    ) -> Result<Arc<Attachment>, Refused> {
        let refused = match self.settle(guard, newcomer) {
            Ok(Outcome::Joined(user)) => return Ok(user),
            Ok(Outcome::TooLate(_, refusal)) => Refused::Because(refusal),
            Err(refused) => refused,
        };
        Err(self.refuse(guard, refused))
    }

    /// Lets `newcomer` join, or returns why not, which is not recorded.
    #[inline(always)]
    pub(crate) fn settle(
        &self,
        guard: &mut Guard<'_, State>,
        newcomer: Newcomer<Client>,
    ) -> Result<Outcome, Refused> {
        match self.judge(guard, newcomer)? {
            Verdict::Joined(user) => {
                let is_scattered = match &guard.life {
                    Life::Backed(backing) => {
                        backing.ranges().len() > 1 && backing.allocator().is_scattered()
                    }
                    Life::Empty | Life::Gone => false,
                };
                if is_scattered && !guard.sought {
                    self.improve(guard);
                }
                Ok(joined(guard, user))
            }
            Verdict::Unsuited(newcomer, unsuited) => self.suit(guard, newcomer, unsuited),
        }
    }

    /// Lets `newcomer` join, which the present memory does not suit, unless it is held.
    #[cold]
    fn suit(
        &self,
        guard: &mut Guard<'_, State>,
        newcomer: Newcomer<Client>,
        unsuited: Unsuited,
    ) -> Result<Outcome, Refused> {
        let held = Held::of(guard);
        if held.first.is_some() {
            let cause = Refusal {
                other: held.user.map_or(Name::EMPTY, |user| user.name()),
                holder: held.first,
                holders: held.count,
                ..Refusal::new(Cause::Held)
            };
            let refusal = unsuited.refusal(newcomer.user().name(), cause);
            return Ok(Outcome::TooLate(newcomer, refusal));
        }
        let who = newcomer.user().name();
        let relocated = self.relocate(guard, &unsuited, newcomer);
        let refused = match relocated.and_then(|newcomer| self.judge(guard, newcomer)) {
            Ok(Verdict::Joined(user)) => return Ok(joined(guard, user)),
            // The allocator does not serve those any more for whom it gave the memory.
            Ok(Verdict::Unsuited(..)) => match &guard.life {
                Life::Backed(memory) => useless(memory),
                Life::Empty | Life::Gone => Refused::Failed(ENODEV),
            },
            Err(refused) => refused,
        };
        match refused {
            Refused::Because(cause) if matches!(cause.cause, Cause::Charge | Cause::Shortage) => {
                Err(Refused::Because(unsuited.refusal(who, cause)))
            }
            refused => Err(refused),
        }
    }

    /// Lets `newcomer` join if the present memory suits it.
    fn judge(&self, state: &mut State, newcomer: Newcomer<Client>) -> Result<Verdict, Refused> {
        let State { users, life, .. } = state;
        let before = users.combined().placement;
        let mut proposal = users.propose(newcomer)?;
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
                    let refusal = unserved_refusal(&proposal, &need, unserved);
                    if proposal.take_second() {
                        continue;
                    }
                    return Err(Refused::Because(refusal));
                }
            }
            break (need, misfit);
        };
        if let Some(misfit) = misfit {
            let unsuited = Unsuited {
                need,
                choice: proposal.choice(),
                misfit,
            };
            return Ok(Verdict::Unsuited(proposal.give_up(), unsuited));
        }
        let is_changing = proposal.changes_others();
        let user = proposal.commit();
        if is_changing {
            // Idle tables were cut to the former needs.
            state.forget_tables();
        }
        Ok(Verdict::Joined(user))
    }

    /// Records and logs a refusal, with its number in it. Anything else that failed is left alone.
    #[cold]
    pub(crate) fn refuse(&self, state: &mut State, refused: Refused) -> Refused {
        let Refused::Because(mut refusal) = refused else {
            return refused;
        };
        state.refusals += 1;
        refusal.sequence = state.refusals;
        refusal.when = u64::try_from(BootTime::ktime_get()).unwrap_or(0);
        let is_late = match refusal.cause {
            Cause::Held => {
                self.blame_holders(state);
                true
            }
            // The memory would have been relocated.
            Cause::Charge | Cause::Shortage => refusal.field.is_some(),
            _ => false,
        };
        state.late_refusals = state.late_refusals.saturating_add(is_late.into());
        trace::refuse(self.id, &refusal);
        registry::set_last_refusal(self.id, refusal);
        state.refusal.clear();
        // Without memory for it the refusal is told to the caller, but not kept: where the memory
        // cgroup is at its limit, it must not cost a process its life.
        if make_room(&mut state.refusal, 1).is_ok() {
            let _ = state.refusal.push(refusal, GFP_KERNEL_ACCOUNT);
        }
        // SAFETY: The call takes no arguments; its rate limit is a static with a lock of its own.
        if unsafe { c::cenalloc_may_log() } {
            // The log may be readable by users who must not learn where memory lies.
            pr_info!("buffer {}: {}\n", self.id, refusal.without_address());
        }
        Refused::Because(refusal)
    }

    /// Counts a late refusal for each user that holds the memory.
    fn blame_holders(&self, state: &mut State) {
        for user in state.users.iter_mut() {
            if user.data.holder().is_some() {
                user.data.late_refusals = user.data.late_refusals.saturating_add(1);
                trace::late_refusal(self.id, user);
            }
        }
    }

    /// Relocates the buffer, whose memory nobody holds, to memory that suits all users and
    /// `newcomer`. Gives `newcomer` back.
    ///
    /// On an error the buffer keeps its memory and its bytes.
    fn relocate(
        &self,
        guard: &mut Guard<'_, State>,
        unsuited: &Unsuited,
        newcomer: Newcomer<Client>,
    ) -> Result<Newcomer<Client>, Refused> {
        let Life::Backed(old) = &guard.life else {
            return Err(Refused::Failed(ENODEV));
        };
        let old = old.clone();
        let mut proposal = guard.users.propose(newcomer)?;
        if unsuited.choice == Choice::Second {
            proposal.take_second();
        }
        let fits = |backing: &Backing| proposal.misfit_of_all(&backing.memory()).is_none();
        let device = proposal.newcomer().data.device();
        let devices = Devices::of(proposal.users()).with(device.as_deref());
        let need = &unsuited.need;
        let is_preferred = || {
            let newcomers = client::preferences_of(proposal.newcomer());
            newcomers.meet(client::preferences(proposal.users())) == Preferences::STRONG
        };
        let mut sought = false;
        let new = self
            .payer
            .charge(|| backing::provide(need, is_preferred, &mut sought, &devices, fits));
        trace::allocate(self.id, self.len, &new);
        let new = new.map_err(|none| none.refusal(need))?;
        let newcomer = proposal.give_up();
        self.replace(guard, &old, new)?;
        guard.sought = sought;
        Ok(newcomer)
    }

    /// Relocates the buffer, whose memory is scattered, to one range, if users prefer that, nobody
    /// holds the present memory, and such memory is to be had.
    #[cold]
    fn improve(&self, guard: &mut Guard<'_, State>) {
        let Life::Backed(old) = &guard.life else {
            return;
        };
        let old = old.clone();
        let users = &guard.users;
        let devices = Devices::of(users);
        let one_range = self.need(users.combined()).in_one_range();
        let need = one_range.map(|(_, preferred)| preferred);
        let need = need.filter(|need| allocator::any_could(need, &devices).is_ok());
        let Some(need) = need else {
            // For these users it never is.
            guard.sought = true;
            return;
        };
        if Held::of(guard).first.is_some() || client::preferences(users) != Preferences::STRONG {
            return;
        }
        let fits = |backing: &Backing| users.misfit(&backing.memory()).is_none();
        let new = self.payer.charge(|| backing::seek(&need, &devices, fits));
        guard.sought = true;
        if new.is_ok() {
            trace::allocate(self.id, self.len, &new);
        }
        // Where that fails, the present memory serves.
        let _ = new.map(|new| self.replace(guard, &old, new));
    }

    /// Lets `new` memory take the place of the `old` one, which nobody holds, with its bytes.
    ///
    /// On an error the buffer keeps its memory and its bytes.
    fn replace(
        &self,
        guard: &mut Guard<'_, State>,
        old: &Backing,
        new: Arc<Backing>,
    ) -> Result<(), Refused> {
        // Dynamic importers finish and unmap from here on; what they still have mapped keeps the
        // old memory until they unmap it.
        guard.invalidate_mappings();
        guard.wait_idle()?;
        // A process that touches the buffer from here on waits in its fault for the lock.
        // SAFETY: Who attaches or declares has a reference to the buffer.
        unsafe { guard.zap_user_mappings() };
        for user in guard.users.iter() {
            if let Some(attached) = &user.data.attached {
                attached.tables.sync_for_cpu();
            }
        }
        new.copy_from(old).map_err(|_| useless(&new))?;
        trace::relocate(self.id, self.len, old, &new);
        guard.life = Life::Backed(new);
        guard.forget_tables();
        guard.relocations = guard.relocations.saturating_add(1);
        Ok(())
    }
}

/// Returns the refusal for memory that was given, and is of no use.
fn useless(memory: &Backing) -> Refused {
    let allocator = memory.allocator();
    Refused::Because(Refusal {
        other: *allocator.name(),
        classes: allocator.class(),
        ..Refusal::new(Cause::Shortage)
    })
}

/// Tells the core of the classes that all users can access by now.
fn joined(guard: &mut Guard<'_, State>, user: Arc<Attachment>) -> Outcome {
    let mask = guard.users.combined().placement.access_mask;
    guard.tell_access_mask(mask);
    Outcome::Joined(user)
}

/// Returns the refusal of a newcomer that no allocator serves, where no user conflicts with it.
fn unserved_refusal(proposal: &Proposal<'_, Client>, need: &Need, unserved: Unserved) -> Refusal {
    // The newcomer may have brought only the class, and another user the need that no memory of
    // this class satisfies.
    let field = match unserved.misfit.field {
        Field::Contiguous => Field::MaxSegments,
        field => field,
    };
    let is_of_users = !matches!(field, Field::Length | Field::Device);
    let combined = need.placement.get(field);
    let behind = if is_of_users && proposal.constraints().placement.get(field) != combined {
        proposal.users().binding(field)
    } else {
        Name::EMPTY
    };
    Refusal {
        who: proposal.newcomer().name(),
        behind,
        ..unserved.refusal(need)
    }
}
