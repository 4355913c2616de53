// SPDX-License-Identifier: GPL-2.0

//! Users that come to a buffer and leave it, against a list of who is there.

#![no_main]

use arbitrary::{
    Arbitrary,
    Result,
    Unstructured, //
};
use dma_buf_constraints_fuzz::{
    attach::{
        Identity,
        Newcomer,
        Refused,
        UserRef,
        Users, //
    },
    device::Device,
    draw,
    model::{
        Constraints,
        Facts,
        Name,
        Needs,
        Party,
        Said, //
    },
    oracle::{
        self,
        Layout, //
    },
    page::PAGE_SIZE,
    prelude::{
        fail_after,
        GFP_KERNEL, //
    },
    sync::{
        aref::ARef,
        Arc, //
    }, //
};
use libfuzzer_sys::fuzz_target;
use std::rc::Rc;

const PAGE: u64 = PAGE_SIZE as u64;

/// Devices at the bottom of the tree: two below one parent, one below another, both parents below
/// one root; and what is no device.
const LEAVES: usize = 3;

#[derive(Debug)]
enum Step {
    /// Somebody comes, and joins unless it has to wait; the allocation after so many fails.
    Join {
        leaf: usize,
        facts: Constraints,
        is_coherent: bool,
        own: Constraints,
        until_failure: u8,
        waits: bool,
    },
    /// The one that waits is proposed again.
    Again(bool),
    /// The one at this place of the list goes, and the others may go back to their own needs.
    Leave(u8, bool),
    /// Would this memory do?
    Try(Layout),
}

#[derive(Debug)]
struct Input {
    len: u64,
    base: Constraints,
    /// Of each parent and of the root.
    said: [Option<Constraints>; 3],
    steps: Vec<Step>,
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut said = [None; 3];
        for one in &mut said {
            if u.arbitrary()? {
                *one = Some(draw::constraints(u, PAGE)?);
            }
        }
        let mut input = Self {
            len: u.int_in_range(1..=24)? * PAGE,
            base: draw::constraints(u, PAGE)?,
            said,
            steps: Vec::new(),
        };
        while input.steps.len() < 24 && !u.is_empty() {
            input.steps.push(match u.int_in_range(0..=6)? {
                0..3 => Step::Join {
                    leaf: u.int_in_range(0..=LEAVES)?,
                    facts: draw::constraints(u, PAGE)?,
                    is_coherent: u.arbitrary()?,
                    own: draw::constraints(u, PAGE)?,
                    until_failure: u.arbitrary()?,
                    waits: u.ratio(1, 4)?,
                },
                3 => Step::Try(draw::layout(u, PAGE)?),
                6 => Step::Again(u.ratio(1, 4)?),
                kind => Step::Leave(u.arbitrary()?, kind == 4),
            });
        }
        Ok(input)
    }
}

/// A user as the exporter knows it.
#[derive(Clone)]
struct Who {
    number: u32,
    device: Option<Rc<Device>>,
}

impl Identity for Who {
    fn name(&self) -> Name {
        Name::new(self.number.to_string().as_bytes())
    }

    fn device(&self) -> Option<ARef<Device>> {
        self.device.clone().map(ARef)
    }

    fn is_below(&self, ancestor: &Device) -> bool {
        let device = self.device.as_ref();
        device.is_some_and(|device| device.is_below(ancestor))
    }
}

/// One who comes.
#[derive(Clone)]
struct Comer {
    who: Who,
    leaf: usize,
    facts: Facts,
    own: Constraints,
}

/// One who is there.
struct Entry {
    comer: Comer,
    user: UserRef<Who>,
}

/// The facts of `c`: what hardware cannot know is left out.
fn facts(c: &Constraints, is_coherent: bool) -> Facts {
    Facts {
        access_mask: c.placement.access_mask,
        max_address: c.placement.max_address,
        alignment: c.placement.alignment,
        segments: c.segments,
        is_coherent,
    }
}

/// All together, and coherent unless the hardware sees to that.
fn together(facts: &Facts, said: &Constraints) -> Constraints {
    let (p, s) = (&said.placement, &said.segments);
    let mut all = *said;
    all.placement.access_mask = p.access_mask & facts.access_mask;
    all.placement.max_address = p.max_address.min(facts.max_address);
    all.placement.alignment = p.alignment.max(facts.alignment);
    all.placement.coherent = p.coherent && !facts.is_coherent;
    all.segments.max_size = s.max_size.min(facts.segments.max_size);
    all.segments.boundary_mask = s.boundary_mask.min(facts.segments.boundary_mask);
    all
}

/// Whether there could be memory of `len` bytes for this, wherever it lies.
fn possible(c: &Constraints, len: u64) -> bool {
    let granule = oracle::granule(c, PAGE);
    let most = (u128::from(c.segments.boundary_mask) + 1).min(c.segments.max_size.into());
    let whole = most / u128::from(PAGE) * u128::from(PAGE);
    c.placement.access_mask != 0
        && u128::from(len) <= u128::from(c.placement.max_address) + 1
        && most >= u128::from(granule)
        && whole * u128::from(c.placement.max_segments) >= u128::from(len)
}

/// The same for what binds the memory alone.
fn possible_together(c: &Constraints, len: u64) -> bool {
    let placement = Constraints {
        placement: c.placement,
        ..Constraints::ANY
    };
    possible(&placement, len)
}

/// All that can be seen of the set.
fn state(users: &Users<Who>) -> (Constraints, Vec<(u32, Needs)>) {
    let all = users.iter().map(|user| (user.data.number, *user.needs()));
    (*users.combined(), all.collect())
}

struct Model {
    base: Constraints,
    len: u64,
    said: [Option<Constraints>; 3],
    leaves: Vec<Option<Rc<Device>>>,
    list: Vec<Entry>,
    users: Users<Who>,
    /// Who was proposed and given up last.
    waiting: Option<(Comer, Newcomer<Who>)>,
    /// Who was in the set and is not any more.
    gone: Vec<UserRef<Who>>,
    /// Another set, and its users.
    others: (Users<Who>, Vec<UserRef<Who>>),
    number: u32,
}

impl Model {
    /// What is said of the ancestors of a leaf, the nearest first, each with its number.
    fn ancestors(&self, leaf: usize) -> Vec<(usize, Constraints)> {
        let numbers = [vec![0, 2], vec![0, 2], vec![1, 2], vec![]];
        let all = numbers[leaf].iter();
        all.filter_map(|number| Some((*number, self.said[*number]?)))
            .collect()
    }

    /// What must be true at any time.
    fn check(&self) {
        assert_eq!(self.users.len(), self.list.len());
        assert_eq!(self.users.is_empty(), self.list.is_empty());
        let mut meet = self.base;
        for Entry { comer, user } in &self.list {
            let number = comer.who.number;
            let found = self.users.find(|user| user.data.number == number);
            assert!(Arc::ptr_eq(&found.unwrap(), user));
            assert!(self.others.0.get(user).is_none());
            let user = self.users.get(user).unwrap();
            assert_eq!(user.data.number, number);
            assert_eq!(user.name(), comer.who.name());
            let own = together(&comer.facts, &comer.own);
            assert_eq!(user.needs().own(), own);
            if user.needs().is_unified() {
                // An ancestor stands for it, with the facts, and shares with somebody else.
                let by_ancestor = |(_, said)| together(&comer.facts, &said) == *user.constraints();
                assert!(self.ancestors(comer.leaf).into_iter().any(by_ancestor));
            } else {
                assert_eq!(*user.constraints(), own);
            }
            assert!(possible(user.constraints(), self.len));
            meet = meet.meet(user.constraints());
        }
        assert_eq!(*self.users.combined(), meet);
        if !self.list.is_empty() {
            let bound = self.list.iter().any(|entry| {
                *self.users.get(&entry.user).unwrap().constraints() != Constraints::ANY
            });
            assert!(!bound || possible_together(&meet, self.len));
        }
        // Nobody is in the set twice, and nobody else is.
        let mut numbers: Vec<_> = self.users.iter().map(|user| user.data.number).collect();
        numbers.sort_unstable();
        assert!(numbers
            .iter()
            .eq(self.list.iter().map(|entry| &entry.comer.who.number)));
        for user in self.gone.iter().chain(&self.others.1) {
            assert!(self.users.get(user).is_none());
        }
        for user in &self.others.1 {
            assert!(self.others.0.get(user).is_some());
        }
    }

    /// Who is not in the set cannot be taken out of it, nor changed by it.
    fn check_strangers(&mut self) {
        let before = state(&self.users);
        for user in self.gone.iter().chain(&self.others.1) {
            assert!(self.users.get_mut(user).is_none());
            self.users.release(user);
        }
        assert_eq!(state(&self.users), before);
        for entry in &self.list {
            self.others.0.release(&entry.user);
        }
        assert_eq!(self.others.0.len(), self.others.1.len());
    }

    fn join(
        &mut self,
        leaf: usize,
        facts: Facts,
        own: Constraints,
        until_failure: u8,
        waits: bool,
    ) {
        self.number += 1;
        let who = Who {
            number: self.number,
            device: self.leaves[leaf].clone(),
        };
        let needs = Needs::new(
            facts,
            Said {
                constraints: own,
                is_inherited: false,
            },
        );
        let comer = Comer {
            who: who.clone(),
            leaf,
            facts,
            own,
        };
        let may_fail = until_failure < 8;
        fail_after(may_fail.then_some(until_failure.into()));
        match Newcomer::new(&needs, who, GFP_KERNEL) {
            Ok(newcomer) => self.propose(comer, newcomer, waits, may_fail),
            Err(_) => assert_eq!(until_failure, 0),
        }
        fail_after(None);
    }

    fn again(&mut self, waits: bool) {
        if let Some((comer, newcomer)) = self.waiting.take() {
            self.propose(comer, newcomer, waits, false);
        }
    }

    fn propose(&mut self, comer: Comer, newcomer: Newcomer<Who>, waits: bool, may_fail: bool) {
        let Comer {
            ref who,
            leaf,
            facts,
            own,
        } = comer;
        let alone = together(&facts, &own);
        let before = state(&self.users);
        let is_unified = self.users.iter().any(|user| user.needs().is_unified());
        let plain = alone == Constraints::ANY
            || possible(&alone, self.len) && possible_together(&before.0.meet(&alone), self.len);
        assert_eq!(newcomer.user().data.number, who.number);
        assert_eq!(newcomer.user().needs().own(), alone);
        let considered = self.users.consider(newcomer.user());
        assert_eq!(state(&self.users), before);
        let outcome = match considered {
            Ok(outcome) => outcome,
            Err(Refused::Failed(_)) => {
                assert!(may_fail);
                return;
            }
            Err(Refused::Conflict(conflict)) => {
                assert!(!plain || is_unified, "{conflict}");
                assert_eq!(conflict.who, who.name());
                self.check_party(&alone, &conflict.with);
                if !is_unified {
                    assert!(!self.pair_unifies(leaf, &facts, &own), "{conflict}");
                }
                match self.users.propose(newcomer) {
                    Err(Refused::Conflict(again)) => assert_eq!(again, conflict),
                    Err(Refused::Failed(_)) => assert!(may_fail),
                    _ => panic!("considered, it could not join"),
                }
                assert_eq!(state(&self.users), before);
                return;
            }
        };
        let ancestors = self.ancestors(leaf);
        let proposal = match self.users.propose(newcomer) {
            Ok(proposal) => proposal,
            Err(Refused::Failed(_)) => {
                assert!(may_fail);
                assert_eq!(state(&self.users), before);
                return;
            }
            Err(Refused::Conflict(conflict)) => panic!("considered, it could join: {conflict}"),
        };
        assert_eq!(state(proposal.users()), before);
        assert_eq!(proposal.newcomer().data.number, who.number);
        let meet = *proposal.outcome().combined();
        assert_eq!(meet, *outcome.combined());
        let is_unifying = proposal.outcome().is_unifying();
        assert_eq!(is_unifying, outcome.is_unifying());
        let constraints = proposal.constraints();
        if !is_unifying {
            assert!(plain);
            assert_eq!(meet, before.0.meet(&alone));
            assert_eq!(constraints, alone);
        } else {
            assert!(!plain || is_unified);
            assert!(ancestors.iter().any(|(_, said)| {
                said.priority > own.priority && constraints == together(&facts, said)
            }));
        }
        if waits {
            let newcomer = proposal.give_up();
            assert_eq!(state(&self.users), before);
            assert_eq!(newcomer.user().needs().own(), alone);
            assert_eq!(*newcomer.user().constraints(), alone);
            self.waiting = Some((comer, newcomer));
            return;
        }
        let user = proposal.commit();
        assert_eq!(*self.users.combined(), meet);
        assert_eq!(*self.users.get(&user).unwrap().constraints(), constraints);
        self.list.push(Entry { comer, user });
        // Who waited may have come before others.
        self.list.sort_by_key(|entry| entry.comer.who.number);
    }

    /// Whether a newcomer and the only user there is have a common ancestor that has to unify
    /// them: of a higher priority than what is said of either, and possible for both.
    fn pair_unifies(&self, leaf: usize, facts: &Facts, own: &Constraints) -> bool {
        let [Entry { comer: other, .. }] = self.list.as_slice() else {
            return false;
        };
        let alone = together(facts, own);
        let apart = alone.placement.access_mask
            & together(&other.facts, &other.own).placement.access_mask
            == 0;
        let common = self.ancestors(leaf).into_iter().find(|(number, said)| {
            said.priority > own.priority.max(other.own.priority)
                && self.ancestors(other.leaf).iter().any(|(n, _)| n == number)
        });
        let Some((_, said)) = common else {
            return false;
        };
        let both = [together(facts, &said), together(&other.facts, &said)];
        let all = self.base.meet(&both[0]).meet(&both[1]);
        apart
            && possible(&alone, self.len)
            && both.iter().all(|one| possible(one, self.len))
            && possible_together(&all, self.len)
    }

    /// Whoever is told to stand against the newcomer does.
    fn check_party(&self, alone: &Constraints, party: &Party) {
        match party {
            Party::Itself => assert!(!possible(alone, self.len)),
            Party::Device(name) if name.as_str() == "the buffer's creator" => {
                assert!(!possible_together(&alone.meet(&self.base), self.len));
            }
            Party::Device(name) => {
                let is_it = |entry: &&Entry| entry.comer.who.name() == *name;
                let entry = self.list.iter().find(is_it).unwrap();
                let user = self.users.get(&entry.user).unwrap();
                let against = [*user.constraints(), user.needs().own()];
                let stands = |other| !possible_together(&alone.meet(other), self.len);
                assert!(against.iter().any(stands));
            }
            Party::Others => {
                assert!(!possible_together(
                    &alone.meet(self.users.combined()),
                    self.len
                ));
            }
            _ => panic!("a set of users knows of no memory"),
        }
    }

    fn leave(&mut self, which: u8, restore: bool) {
        if self.list.is_empty() {
            return;
        }
        let entry = self.list.remove(usize::from(which) % self.list.len());
        self.users.release(&entry.user);
        self.gone.push(entry.user);
        self.check_strangers();
        self.check();
        let before = state(&self.users);
        let mut asked = 0;
        self.users.restore(|users, meet| {
            asked += 1;
            assert_eq!(state(users).0, before.0);
            assert!(possible_together(meet, self.len));
            restore
        });
        assert!(asked <= 1);
        if asked == 0 || !restore {
            assert_eq!(state(&self.users).0, before.0);
        } else if let [last] = self.list.as_slice() {
            assert!(!self.users.get(&last.user).unwrap().needs().is_unified());
        }
    }

    /// Memory fits all if it fits each, by trial.
    fn try_memory(&self, layout: &Layout) {
        let fits = |c: &Constraints| {
            let mut fields = oracle::FIELDS.iter();
            fields.all(|field| oracle::found(c, *field, layout).is_none())
        };
        let all = self.users.iter().all(|user| fits(user.constraints()));
        let misfit = self.users.misfit(&layout.memory());
        assert_eq!(misfit.is_none(), all && fits(&self.base));
        if let Some((name, _)) = misfit {
            let is_it = |entry: &&Entry| entry.comer.who.name() == name;
            match self.list.iter().find(is_it) {
                Some(entry) => assert!(!fits(self.users.get(&entry.user).unwrap().constraints())),
                None => assert!(!fits(&self.base)),
            }
        }
    }
}

fuzz_target!(|input: Input| {
    let Input {
        len,
        base,
        said,
        steps,
    } = input;
    // As the module does before it makes a set.
    if !possible(&base, len) {
        return;
    }
    let root = Device::new(None, said[2]);
    let parents = [0, 1].map(|number| Device::new(Some(root.clone()), said[number]));
    let leaf = |parent: usize| Some(Device::new(Some(parents[parent].clone()), None));
    // In places that those of the set have, too.
    let mut others = Users::new(Constraints::ANY, len);
    let other_users = (0..8).map(|number| {
        let who = Who {
            number,
            device: None,
        };
        let newcomer = Newcomer::new(&Needs::NONE, who, GFP_KERNEL).unwrap();
        others.propose(newcomer).ok().unwrap().commit()
    });
    let other_users = other_users.collect();
    let mut model = Model {
        base,
        len,
        said,
        leaves: vec![leaf(0), leaf(0), leaf(1), None],
        list: Vec::new(),
        users: Users::new(base, len),
        waiting: None,
        gone: Vec::new(),
        others: (others, other_users),
        number: 0,
    };
    for step in steps {
        match step {
            Step::Join {
                leaf,
                facts: hardware,
                is_coherent,
                own,
                until_failure,
                waits,
            } => {
                let facts = facts(&hardware, is_coherent);
                model.join(leaf, facts, own, until_failure, waits);
            }
            Step::Again(waits) => model.again(waits),
            Step::Leave(which, restore) => model.leave(which, restore),
            Step::Try(layout) => model.try_memory(&layout),
        }
        model.check();
    }
});
