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
    draw,
    model::{
        Cause,
        Choice,
        Constraints,
        Facts,
        Name,
        Needs,
        Refusal, //
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
    sync::Arc, //
};
use libfuzzer_sys::fuzz_target;

const PAGE: u64 = PAGE_SIZE as u64;

/// What is known of one who comes.
#[derive(Clone, Debug)]
struct Known {
    facts: Facts,
    said: Constraints,
    ancestor: Option<Constraints>,
}

/// What becomes of one who may join.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Joins,
    /// By second choices.
    JoinsBySecond,
    Waits,
}

#[derive(Debug)]
enum Step {
    /// Somebody comes; the allocation after so many fails.
    Join(Known, u8, Then),
    /// The one that waits is proposed again.
    Again(Then),
    /// The one at this place of the list goes; whether second choices may cease to count.
    Leave(u8, bool),
    /// Would this memory do?
    Try(Layout),
}

#[derive(Debug)]
struct Input {
    len: u64,
    base: Constraints,
    steps: Vec<Step>,
}

fn known(u: &mut Unstructured<'_>) -> Result<Known> {
    let facts = Facts {
        is_translated: u.arbitrary()?,
        ..facts(&draw::constraints(u, PAGE)?, u.arbitrary()?)
    };
    let said = draw::constraints(u, PAGE)?;
    let ancestor = u.arbitrary::<bool>()?.then(|| draw::constraints(u, PAGE));
    Ok(Known {
        facts,
        said,
        ancestor: ancestor.transpose()?,
    })
}

fn then(u: &mut Unstructured<'_>) -> Result<Then> {
    Ok(match u.int_in_range(0..=7)? {
        0..5 => Then::Joins,
        5 => Then::JoinsBySecond,
        _ => Then::Waits,
    })
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut input = Self {
            len: u.int_in_range(1..=24)? * PAGE,
            base: draw::constraints(u, PAGE)?,
            steps: Vec::new(),
        };
        while input.steps.len() < 24 && !u.is_empty() {
            input.steps.push(match u.int_in_range(0..=6)? {
                0..3 => Step::Join(known(u)?, u.arbitrary()?, then(u)?),
                3 => Step::Try(draw::layout(u, PAGE)?),
                6 => Step::Again(then(u)?),
                kind => Step::Leave(u.arbitrary()?, kind == 4),
            });
        }
        Ok(input)
    }
}

/// A user as the exporter knows it.
struct Who(u32);

impl Identity for Who {
    fn name(&self) -> Name {
        Name::new(self.0.to_string().as_bytes())
    }
}

/// One who comes, by a second opinion on what it needs.
#[derive(Clone, Copy)]
struct Comer {
    number: u32,
    own: Constraints,
    either: Constraints,
    is_translated: bool,
}

impl Comer {
    /// What binds the memory.
    fn of_memory(&self, choice: Choice) -> Constraints {
        let mut constraints = *self.by(choice);
        if self.is_translated {
            let placement = constraints.placement;
            constraints.segments = Constraints::ANY.segments;
            constraints.placement = Constraints::ANY.placement;
            constraints.placement.access_mask = placement.access_mask;
            constraints.placement.coherent = placement.coherent;
        }
        constraints
    }

    fn by(&self, choice: Choice) -> &Constraints {
        match choice {
            Choice::First => &self.own,
            Choice::Second => &self.either,
        }
    }
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
        is_translated: false,
    }
}

/// All together, and coherent unless the hardware sees to that.
fn together(facts: &Facts, said: &Constraints) -> Constraints {
    let (p, s) = (&said.placement, &said.segments);
    let mut all = *said;
    all.placement.access_mask = p.access_mask & facts.access_mask;
    all.placement.max_address = match facts.is_translated {
        true => u64::MAX,
        false => p.max_address.min(facts.max_address),
    };
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

/// What counts if second choices do, in a buffer of `len` bytes.
fn either(known: &Known, len: u64) -> Constraints {
    let own = together(&known.facts, &known.said);
    let Some(ancestor) = &known.ancestor else {
        return own;
    };
    let second = together(&known.facts, ancestor);
    let classes = own.placement.access_mask | second.placement.access_mask;
    let mut both = own.meet(&second);
    both.placement.access_mask = classes;
    let is_more = classes != own.placement.access_mask;
    if is_more && possible(&both, len) {
        both
    } else {
        own
    }
}

fn other(choice: Choice) -> Choice {
    match choice {
        Choice::First => Choice::Second,
        Choice::Second => Choice::First,
    }
}

/// All that can be seen of the set.
fn state(users: &Users<Who>) -> (Constraints, Vec<(u32, Constraints, Needs)>) {
    let all = users
        .iter()
        .map(|user| (user.data.0, *users.constraints_of(user), *user.needs()));
    (*users.combined(), all.collect())
}

struct Model {
    base: Constraints,
    len: u64,
    list: Vec<Entry>,
    choice: Choice,
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
    /// What those in the list need together, and one more.
    fn all(&self, choice: Choice, more: Option<&Comer>) -> Constraints {
        let all = self.list.iter().map(|entry| &entry.comer).chain(more);
        all.fold(self.base, |all, comer| all.meet(&comer.of_memory(choice)))
    }

    /// What must be true at any time.
    fn check(&self) {
        assert_eq!(self.users.len(), self.list.len());
        assert_eq!(self.users.is_empty(), self.list.is_empty());
        for Entry { comer, user } in &self.list {
            let found = self.users.find(|user| user.data.0 == comer.number);
            assert!(Arc::ptr_eq(&found.unwrap(), user));
            assert!(self.others.0.get(user).is_none());
            let user = self.users.get(user).unwrap();
            assert_eq!(user.data.0, comer.number);
            assert_eq!(*user.needs().own(), comer.own);
            assert_eq!(self.users.constraints_of(user), comer.by(self.choice));
            let has_second = self.choice == Choice::Second && comer.own != comer.either;
            assert_eq!(self.users.has_second(user), has_second);
            assert!(possible(comer.by(self.choice), self.len));
        }
        let all = self.all(self.choice, None);
        assert_eq!(*self.users.combined(), all);
        assert!(possible_together(&all, self.len));
        // Nobody is in the set twice, and nobody else is.
        let mut numbers: Vec<_> = self.users.iter().map(|user| user.data.0).collect();
        numbers.sort_unstable();
        assert!(numbers
            .iter()
            .eq(self.list.iter().map(|entry| &entry.comer.number)));
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
        let never = |_: &_, _: &_| unreachable!("nobody has gone");
        for user in self.gone.iter().chain(&self.others.1) {
            assert!(self.users.get_mut(user).is_none());
            assert!(self.users.parts(user).is_none());
            self.users.release(user, never);
        }
        assert_eq!(state(&self.users), before);
        for entry in &self.list {
            self.others.0.release(&entry.user, never);
        }
        assert_eq!(self.others.0.len(), self.others.1.len());
    }

    fn join(&mut self, known: &Known, until_failure: u8, then: Then) {
        self.number += 1;
        let comer = Comer {
            number: self.number,
            own: together(&known.facts, &known.said),
            either: either(known, self.len),
            is_translated: known.facts.is_translated,
        };
        let needs = Needs::new(&known.facts, &known.said, known.ancestor.as_ref());
        let may_fail = until_failure < 8;
        fail_after(may_fail.then_some(until_failure.into()));
        match Newcomer::new(&needs, Who(self.number), GFP_KERNEL) {
            Ok(newcomer) => self.propose(comer, newcomer, then, may_fail),
            Err(_) => assert_eq!(until_failure, 0),
        }
        fail_after(None);
    }

    fn again(&mut self, then: Then) {
        if let Some((comer, newcomer)) = self.waiting.take() {
            self.propose(comer, newcomer, then, false);
        }
    }

    fn propose(&mut self, comer: Comer, mut newcomer: Newcomer<Who>, then: Then, may_fail: bool) {
        let before = state(&self.users);
        let is_possible = |choice| possible_together(&self.all(choice, Some(&comer)), self.len);
        let choices = [self.choice, other(self.choice)];
        let expected = possible(&comer.own, self.len)
            .then(|| choices.into_iter().find(|choice| is_possible(*choice)))
            .flatten();
        let second_is_possible = is_possible(Choice::Second);
        let considered = self.users.consider(&mut newcomer);
        assert_eq!(state(&self.users), before);
        let combined = match considered {
            Ok(outcome) => *outcome.combined(),
            Err(Refused::Failed(_)) => panic!("there is nothing to allocate"),
            Err(Refused::Because(refusal)) => {
                assert_eq!(expected, None, "{refusal}");
                assert_eq!(refusal.who, Who(comer.number).name());
                assert_eq!(refusal.len, self.len);
                self.check_party(&comer, &refusal);
                match self.users.propose(newcomer) {
                    Err(Refused::Because(again)) => assert_eq!(again, refusal),
                    _ => panic!("considered, it could not join"),
                }
                assert_eq!(state(&self.users), before);
                return;
            }
        };
        let choice = expected.expect("it could not join");
        let [first, second] =
            [Choice::First, Choice::Second].map(|choice| self.all(choice, Some(&comer)));
        let by = |choice| {
            if choice == Choice::First {
                first
            } else {
                second
            }
        };
        assert_eq!(combined, by(choice));
        let is_changing = choice != self.choice;
        let mut proposal = match self.users.propose(newcomer) {
            Ok(proposal) => proposal,
            Err(Refused::Because(refusal)) => {
                // Considered, it could join.
                assert_eq!(refusal.cause, Cause::Bookkeeping, "{refusal}");
                assert!(may_fail);
                assert_eq!(state(&self.users), before);
                return;
            }
            Err(Refused::Failed(_)) => panic!("it has no cause"),
        };
        assert_eq!(state(proposal.users()), before);
        assert_eq!(proposal.newcomer().data.0, comer.number);
        assert_eq!(
            (proposal.choice(), proposal.changes_others()),
            (choice, is_changing)
        );
        assert_eq!(proposal.constraints(), comer.of_memory(choice));
        if then == Then::JoinsBySecond {
            let is_better = choice == Choice::First && first != second && second_is_possible;
            assert_eq!(proposal.take_second(), is_better);
            assert_eq!(state(proposal.users()), before);
        }
        let choice = proposal.choice();
        assert_eq!(*proposal.outcome().combined(), by(choice));
        if then == Then::Waits {
            let newcomer = proposal.give_up();
            assert_eq!(state(&self.users), before);
            assert_eq!(*newcomer.user().needs().own(), comer.own);
            self.waiting = Some((comer, newcomer));
            return;
        }
        let user = proposal.commit();
        self.choice = choice;
        self.list.push(Entry { comer, user });
        // Who waited may have come before others.
        self.list.sort_by_key(|entry| entry.comer.number);
    }

    /// Whoever is told to stand against the newcomer does.
    fn check_party(&self, comer: &Comer, refusal: &Refusal) {
        let is_against = |other: &Comer, choice: Choice| {
            let both = comer.of_memory(choice).meet(&other.of_memory(choice));
            !possible_together(&both, self.len)
        };
        assert_eq!(refusal.cause == Cause::User, !refusal.other.is_empty());
        match refusal.cause {
            Cause::Itself => assert!(!possible(&comer.own, self.len)),
            Cause::User if refusal.other.as_str() == "the creator of the buffer" => {
                let both = comer.of_memory(Choice::First).meet(&self.base);
                assert!(!possible_together(&both, self.len));
            }
            Cause::User => {
                let of_name = |entry: &&Entry| Who(entry.comer.number).name() == refusal.other;
                let found = &self.list.iter().find(of_name).unwrap().comer;
                assert!(is_against(found, Choice::First));
                // Rather one with whom second choices do not help.
                let is_hopeless = |entry: &Entry| is_against(&entry.comer, Choice::Second);
                let is_any = self.list.iter().any(is_hopeless);
                assert_eq!(is_against(found, Choice::Second), is_any);
            }
            Cause::Others => {
                assert!(
                    !possible_together(&comer.own.meet(self.users.combined()), self.len)
                        || self.choice == Choice::Second
                );
            }
            _ => panic!("a set of users knows of no memory"),
        }
    }

    fn leave(&mut self, which: u8, could: bool) {
        if self.list.is_empty() {
            return;
        }
        let entry = self.list.remove(usize::from(which) % self.list.len());
        let first = self.all(Choice::First, None);
        let mut asked = 0;
        self.users.release(&entry.user, |users, all| {
            asked += 1;
            assert_eq!(users.len(), self.list.len());
            assert_eq!(*all, first);
            could
        });
        let comer = &entry.comer;
        let needs_nothing =
            [comer.own, comer.either] == [Constraints::ANY; 2] && !comer.is_translated;
        let is_asked =
            self.choice == Choice::Second && !needs_nothing && possible_together(&first, self.len);
        assert_eq!(asked, u32::from(is_asked));
        if is_asked && could {
            self.choice = Choice::First;
        }
        self.gone.push(entry.user);
        self.check_strangers();
    }

    /// Memory fits all if it fits each, by trial.
    fn try_memory(&self, layout: &Layout) {
        let fits = |c: &Constraints| {
            let mut fields = oracle::FIELDS.iter();
            fields.all(|field| oracle::found(c, *field, layout).is_none())
        };
        let mut each = self.list.iter().map(|entry| &entry.comer);
        let all = each.all(|comer| fits(&comer.of_memory(self.choice)));
        let misfit = self.users.misfit(&layout.memory());
        assert_eq!(misfit.is_none(), all && fits(&self.base));
        if let Some((name, _)) = misfit {
            let is_it = |entry: &&Entry| Who(entry.comer.number).name() == name;
            match self.list.iter().find(is_it) {
                Some(entry) => assert!(!fits(&entry.comer.of_memory(self.choice))),
                None => assert!(!fits(&self.base)),
            }
        }
    }
}

fuzz_target!(|input: Input| {
    let Input { len, base, steps } = input;
    // As the module does before it makes a set.
    if !possible(&base, len) {
        return;
    }
    // In places that those of the set have, too.
    let mut others = Users::new(Constraints::ANY, len);
    let other_users = (0..8).map(|number| {
        let newcomer = Newcomer::new(&Needs::NONE, Who(number), GFP_KERNEL).unwrap();
        others.propose(newcomer).ok().unwrap().commit()
    });
    let other_users = other_users.collect();
    let mut model = Model {
        base,
        len,
        list: Vec::new(),
        choice: Choice::First,
        users: Users::new(base, len),
        waiting: None,
        gone: Vec::new(),
        others: (others, other_users),
        number: 0,
    };
    for step in steps {
        match step {
            Step::Join(known, until_failure, then) => model.join(&known, until_failure, then),
            Step::Again(then) => model.again(then),
            Step::Leave(which, could) => model.leave(which, could),
            Step::Try(layout) => model.try_memory(&layout),
        }
        model.check();
    }
});
