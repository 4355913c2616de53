// SPDX-License-Identifier: GPL-2.0

//! What users need, and how ancestors unify them.

use crate::strategy::{
    config,
    constraints, //
};
use dma_buf_constraints_host::model::{
    release_ancestors,
    unify,
    Constraints,
    Facts,
    Needs,
    Places,
    Said, //
};
use proptest::{
    collection,
    prelude::*, //
};

fn said(constraints: Constraints) -> Said {
    Said {
        constraints,
        is_inherited: false,
    }
}

/// Constraints that consist of a mask and a priority.
fn mask(access_mask: u64, priority: u16) -> Constraints {
    let mut constraints = Constraints::ANY;
    constraints.placement.access_mask = access_mask;
    constraints.priority = priority;
    constraints
}

/// A user of whom no more is known.
fn user(access_mask: u64, priority: u16) -> Needs {
    Needs::new(
        hardware(&Constraints::ANY, true),
        said(mask(access_mask, priority)),
    )
}

/// Constraints with few classes of memory, such that masks are often disjoint.
fn few_classes() -> impl Strategy<Value = Constraints> {
    (constraints(), 1..8_u64, 0..4_u16).prop_map(|(mut constraints, mask, priority)| {
        constraints.placement.access_mask = mask;
        constraints.priority = priority;
        constraints
    })
}

/// Facts come from hardware: they have no priority, and rarely a class.
fn facts() -> impl Strategy<Value = Constraints> {
    (
        constraints(),
        prop_oneof![3 => Just(u64::MAX), 1 => 1..8_u64],
    )
        .prop_map(|(mut facts, mask)| {
            facts.placement.access_mask = mask;
            facts.placement.max_segments = u32::MAX;
            facts.placement.coherent = false;
            facts.priority = 0;
            facts
        })
}

/// The same for the model.
fn hardware(facts: &Constraints, is_coherent: bool) -> Facts {
    Facts {
        access_mask: facts.placement.access_mask,
        max_address: facts.placement.max_address,
        alignment: facts.placement.alignment,
        segments: facts.segments,
        is_coherent,
    }
}

fn needs() -> impl Strategy<Value = Needs> {
    (facts(), any::<bool>(), few_classes())
        .prop_map(|(facts, is_coherent, own)| Needs::new(hardware(&facts, is_coherent), said(own)))
}

/// Two that have no class in common.
fn disjoint_needs() -> impl Strategy<Value = (Needs, Needs)> {
    (needs(), needs(), 1..7_u64)
        .prop_map(|(a, b, split)| (a.also(&mask(split, 0)), b.also(&mask(!split, 0))))
}

/// Who can share with the newcomer is not asked for the ancestor that others need.
#[test]
fn others_need_no_ancestor() {
    let ancestor = mask(0b110, 1);
    let newcomer = user(0b001, 0);
    let (apart, among) = (user(0b010, 0), user(0b111, 0));
    let unified = unify(&newcomer, &ancestor, [&apart, &among], |user| {
        *user == apart
    });
    assert_eq!(unified, Some(newcomer.under(&ancestor)));
    assert!(!among.has_to_join(&newcomer.under(&ancestor)));
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn own_needs_are_facts_and_what_is_said(
        facts in facts(),
        own in constraints(),
        more in constraints(),
        ancestor in constraints(),
    ) {
        let needs = Needs::new(hardware(&facts, false), said(own));
        prop_assert_eq!(needs.own(), facts.meet(&own));
        prop_assert_eq!(*needs.effective(), needs.own());
        prop_assert_eq!(needs.also(&more).own(), needs.own().meet(&more));
        let unified = needs.under(&ancestor);
        prop_assert!(unified.is_unified());
        prop_assert_eq!(unified.own(), needs.own());
        prop_assert_eq!(*unified.effective(), facts.meet(&ancestor));
    }

    /// Where the hardware is coherent, all memory is; otherwise what is said is taken literally.
    #[test]
    fn coherent_hardware_takes_any_memory(
        facts in facts(),
        mut own in constraints(),
        mut ancestor in constraints(),
    ) {
        own.placement.coherent = true;
        ancestor.placement.coherent = true;
        for is_coherent in [false, true] {
            let needs = Needs::new(hardware(&facts, is_coherent), said(own));
            for one in [needs, needs.also(&ancestor), needs.under(&ancestor)] {
                prop_assert_eq!(one.effective().placement.coherent, !is_coherent);
                prop_assert_eq!(one.own().placement.coherent, !is_coherent);
            }
        }
    }

    #[test]
    fn two_are_unified_whoever_comes_first(
        (a, b) in disjoint_needs(),
        ancestor in few_classes(),
    ) {
        let first = unify(&a, &ancestor, [&b], |_| true);
        let second = unify(&b, &ancestor, [&a], |_| true);
        prop_assert_eq!(first.is_some(), second.is_some());
        if let (Some(first), Some(second)) = (first, second) {
            // Both have to join, and get the same as the newcomer.
            prop_assert!(a.has_to_join(&second) && b.has_to_join(&first));
            prop_assert_eq!(first, a.under(&ancestor));
            prop_assert_eq!(second, b.under(&ancestor));
        }
    }

    #[test]
    fn only_a_higher_priority_unifies((a, b) in disjoint_needs(), ancestor in few_classes()) {
        let is_higher = [a, b]
            .iter()
            .all(|needs| ancestor.priority > needs.effective().priority);
        prop_assert_eq!(unify(&a, &ancestor, [&b], |_| true).is_some(), is_higher);
        prop_assert_eq!(unify(&a, &ancestor, [&b], |_| false), None);
    }

    /// Facts bind, and so does what the ancestor declares.
    #[test]
    fn nothing_is_gained_beyond_facts_and_ancestor(
        facts in facts(),
        own in few_classes(),
        b in needs(),
        ancestor in few_classes(),
    ) {
        let a = Needs::new(hardware(&facts, false), said(own));
        if let Some(unified) = unify(&a, &ancestor, [&b], |_| true) {
            let effective = *unified.effective();
            prop_assert_eq!(effective.meet(&facts), effective);
            prop_assert_eq!(effective.meet(&ancestor), effective);
        }
    }

    /// Whoever need not join can share with the newcomer, before and after.
    #[test]
    fn others_share_with_the_newcomer(
        newcomer in needs(),
        users in collection::vec((needs(), any::<bool>()), 0..5),
        ancestor in few_classes(),
    ) {
        if let Some(unified) = unify(&newcomer, &ancestor, &wrap(&users), |user| user.1) {
            for (needs, is_below) in &users {
                if needs.has_to_join(&unified) {
                    prop_assert!(*is_below && needs.yields_to(&ancestor));
                } else {
                    prop_assert!(!needs.effective().is_disjoint(unified.effective()));
                    prop_assert!(!needs.effective().is_disjoint(&newcomer.own()));
                }
            }
        }
    }
}

/// A user with a mark.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Marked<M>(Needs, M);

impl<M> AsRef<Needs> for Marked<M> {
    fn as_ref(&self) -> &Needs {
        &self.0
    }
}

/// Users with marks, by their places.
struct Set<'a, M>(&'a mut [Option<Marked<M>>]);

impl<M> Places for Set<'_, M> {
    fn places(&self) -> usize {
        self.0.len()
    }

    fn needs(&self, place: usize) -> Option<&Needs> {
        self.0[place].as_ref().map(|user| &user.0)
    }

    fn needs_mut(&mut self, place: usize) -> Option<&mut Needs> {
        self.0[place].as_mut().map(|user| &mut user.0)
    }
}

fn wrap<M: Copy>(users: &[(Needs, M)]) -> Vec<Marked<M>> {
    users
        .iter()
        .map(|(needs, mark)| Marked(*needs, *mark))
        .collect()
}

#[test]
fn whoever_inherits_has_the_ancestors_already() {
    let ancestor = mask(0b100, 3);
    let inherits = Said {
        constraints: ancestor,
        is_inherited: true,
    };
    let child = Needs::new(hardware(&Constraints::ANY, true), inherits);
    let other = user(0b001, 2);
    assert_eq!(
        unify(&other, &ancestor, [&child], |_| true),
        Some(other.under(&ancestor))
    );
    assert_eq!(
        unify(&child, &ancestor, [&other], |_| true),
        Some(child.under(&ancestor))
    );
    // The same said of the device itself is its own, and of no lower priority.
    let own = Needs::new(hardware(&Constraints::ANY, true), said(ancestor));
    assert_eq!(unify(&other, &ancestor, [&own], |_| true), None);
    // As is more that a program says of it.
    let more = child.also(&mask(0b110, 0));
    assert_eq!(unify(&other, &ancestor, [&more], |_| true), None);
    assert_eq!(child.also(&Constraints::ANY), child);
    // A higher ancestor needs a higher priority than the one it inherits.
    assert_eq!(unify(&other, &mask(0b010, 3), [&child], |_| true), None);
    assert!(unify(&other, &mask(0b010, 4), [&child], |_| true).is_some());
}

#[test]
fn a_third_joins_those_who_are_unified() {
    let ancestor = mask(0b100, 3);
    let users = [
        user(0b001, 1).under(&ancestor),
        user(0b010, 2).under(&ancestor),
    ];
    // It could share with either, but not with what they have now.
    let third = user(0b011, 0);
    let unified = unify(&third, &ancestor, &users, |_| true).unwrap();
    assert_eq!(unified.effective().placement.access_mask, 0b100);
    // An ancestor of its own family does not take their place.
    assert_eq!(unify(&third, &mask(0b1000, 3), &users, |_| true), None);
}

/// A family of devices: its number is that of the ancestor that they have in common, beside the one
/// that all have.
type Member = Marked<usize>;

/// Lets a newcomer into a set as the module does, the nearest ancestor first. Whoever cannot share
/// stays out.
fn join(set: &mut Vec<Option<Member>>, newcomer: Member, ancestors: &[Constraints; 3]) {
    let Marked(needs, family) = newcomer;
    let users = || set.iter().flatten();
    let is_disjoint =
        |needs: &Needs, other: &Member| needs.effective().is_disjoint(other.0.effective());
    if !users().any(|user| is_disjoint(&needs, user)) {
        return set.push(Some(newcomer));
    }
    let found = [(ancestors[family], Some(family)), (ancestors[2], None)]
        .into_iter()
        .find_map(|(ancestor, only)| {
            let is_below = |user: &Member| only.is_none_or(|family| user.1 == family);
            Some((unify(&needs, &ancestor, users(), is_below)?, ancestor))
        });
    let Some((unified, ancestor)) = found else {
        return;
    };
    let mut changed = set.clone();
    for user in changed.iter_mut().flatten() {
        if user.0.has_to_join(&unified) {
            user.0 = user.0.under(&ancestor);
        }
    }
    if changed
        .iter()
        .flatten()
        .any(|user| is_disjoint(&unified, user))
    {
        return;
    }
    changed.push(Some(Marked(unified, family)));
    if shares(&changed) {
        *set = changed;
    }
}

/// Whether each two have a class in common.
fn shares(set: &[Option<Member>]) -> bool {
    let users = || set.iter().flatten();
    users().all(|a| users().all(|b| !a.0.effective().is_disjoint(b.0.effective())))
}

/// Ancestors, of two families and of all, and devices that come, and which of them goes.
fn families() -> impl Strategy<Value = ([Constraints; 3], Vec<(u64, u16, usize)>, usize)> {
    let ancestor = |priority| (1..32_u64, priority).prop_map(|(bits, high)| mask(bits, high));
    (
        [ancestor(2..4_u16), ancestor(2..4_u16), ancestor(3..6_u16)],
        collection::vec((1..32_u64, 0..3_u16, 0..2_usize), 2..7),
        any::<usize>(),
    )
}

proptest! {
    #![proptest_config(config(2048))]

    #[test]
    fn those_without_a_partner_go_back((ancestors, devices, gone) in families()) {
        let mut set = Vec::new();
        for (bits, priority, family) in devices {
            join(&mut set, Marked(user(bits, priority), family), &ancestors);
        }
        prop_assert!(shares(&set));
        let gone = gone % set.len();
        set[gone] = None;
        let before = set.clone();
        let any = release_ancestors(&mut Set(&mut set));

        // Nothing has changed yet but for marks.
        for (after, before) in set.iter().flatten().zip(before.iter().flatten()) {
            prop_assert_eq!(after.0.effective(), before.0.effective());
            prop_assert_eq!(after.0.own(), before.0.own());
        }
        // The order is of no importance.
        let mut reversed: Vec<_> = before.iter().rev().copied().collect();
        release_ancestors(&mut Set(&mut reversed));
        reversed.reverse();
        prop_assert_eq!(&reversed, &set);

        let foreseen: Vec<_> = set.iter().flatten().map(|user| user.0.settled()).collect();
        for user in set.iter_mut().flatten() {
            user.0.settle();
        }
        let now: Vec<_> = set.iter().flatten().map(|user| *user.0.effective()).collect();
        prop_assert_eq!(&foreseen, &now);
        prop_assert_eq!(any, set != before);
        prop_assert!(shares(&set));
        for (index, user) in set.iter().enumerate() {
            let Some(Marked(needs, _)) = user else { continue };
            let has_partner = set.iter().enumerate().any(|(other, user)| {
                index != other
                    && user.is_some_and(|user| {
                        needs.own().is_disjoint(&user.0.own())
                            || needs.own().is_disjoint(user.0.effective())
                    })
            });
            let was_unified = before[index].is_some_and(|user| user.0.is_unified());
            prop_assert_eq!(needs.is_unified(), was_unified && has_partner);
        }
    }
}

/// The strategy is worth something only if it draws what matters.
#[test]
fn families_unify_and_part() {
    use proptest::{
        strategy::ValueTree,
        test_runner::TestRunner, //
    };

    let mut runner = TestRunner::deterministic();
    let (mut unified, mut parted, mut stayed) = (0, 0, 0);
    for _ in 0..1000 {
        let (ancestors, devices, gone) = families().new_tree(&mut runner).unwrap().current();
        let mut set = Vec::new();
        for (bits, priority, family) in devices {
            join(&mut set, Marked(user(bits, priority), family), &ancestors);
        }
        unified += usize::from(set.iter().flatten().any(|user| user.0.is_unified()));
        let gone = gone % set.len();
        set[gone] = None;
        parted += usize::from(release_ancestors(&mut Set(&mut set)));
        let stays = |user: &Member| user.0.is_unified() && user.0.settled() != user.0.own();
        stayed += usize::from(set.iter().flatten().any(stays));
    }
    let drawn = format!("unified {unified}, parted {parted}, stayed {stayed}");
    assert!(unified > 200 && parted > 50 && stayed > 50, "{drawn}");
}
