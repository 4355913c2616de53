// SPDX-License-Identifier: GPL-2.0

//! What users need, by themselves and as a second choice, and what they need together.

use crate::strategy::{
    config,
    constraints, //
};
use dma_buf_constraints_host::model::{
    Choice,
    Constraints,
    Facts,
    Field,
    Needs,
    Preferences,
    Range,
    Strength,
    Together, //
};
use proptest::{
    collection,
    prelude::*,
    strategy::ValueTree,
    test_runner::TestRunner, //
};

const PAGE: u64 = 4096;

/// Constraints that consist of a mask and a priority.
fn mask(access_mask: u64, priority: u16) -> Constraints {
    let mut constraints = Constraints::ANY;
    constraints.placement.access_mask = access_mask;
    constraints.priority = priority;
    constraints
}

/// A user of whom no more is known than its classes of memory, and those of an ancestor.
fn user(own: u64, ancestor: Option<u64>) -> Needs {
    let ancestor = ancestor.map(|classes| mask(classes, 1));
    Needs::new(&Facts::NONE, &mask(own, 0), ancestor.as_ref())
}

/// Constraints with few classes of memory, such that masks are often disjoint, and often nothing
/// else.
fn few_classes() -> impl Strategy<Value = Constraints> {
    let classes = prop_oneof![4 => (0..4_u32).prop_map(|class| 1 << class), 1 => 1..16_u64];
    let rest = prop_oneof![2 => Just(Constraints::ANY), 1 => constraints()];
    (rest, classes, 0..4_u16).prop_map(|(mut constraints, mask, priority)| {
        constraints.placement.access_mask = mask;
        constraints.priority = priority;
        constraints
    })
}

/// Facts come from hardware: they have no priority, and rarely a class.
fn facts() -> impl Strategy<Value = Constraints> {
    let classes = prop_oneof![3 => Just(u64::MAX), 1 => 1..16_u64];
    let rest = prop_oneof![2 => Just(Constraints::ANY), 1 => constraints()];
    (rest, classes).prop_map(|(mut facts, mask)| {
        facts.placement.access_mask = mask;
        facts.placement.max_segments = u32::MAX;
        facts.placement.coherent = false;
        facts.priority = 0;
        facts
    })
}

/// The same for the model, of a device that nothing translates for.
fn hardware(facts: &Constraints, is_coherent: bool) -> Facts {
    Facts {
        access_mask: facts.placement.access_mask,
        max_address: facts.placement.max_address,
        alignment: facts.placement.alignment,
        segments: facts.segments,
        is_coherent,
        is_translated: false,
    }
}

/// What is known of a user: facts, what is said of it, and of an ancestor; and whether an IOMMU
/// translates for it.
type Known = (Constraints, Constraints, Option<Constraints>, bool);

fn known() -> impl Strategy<Value = Known> {
    (
        facts(),
        few_classes(),
        proptest::option::weighted(0.8, few_classes()),
        any::<bool>(),
    )
}

fn needs_of((facts, said, ancestor, is_translated): &Known) -> Needs {
    let facts = Facts {
        is_translated: *is_translated,
        ..hardware(facts, false)
    };
    Needs::new(&facts, said, ancestor.as_ref())
}

/// The memory's part of what a device needs behind an IOMMU, field by field.
fn of_memory(constraints: &Constraints, is_translated: bool) -> Constraints {
    if !is_translated {
        return *constraints;
    }
    let mut of_memory = mask(constraints.placement.access_mask, constraints.priority);
    of_memory.placement.coherent = constraints.placement.coherent;
    of_memory
}

/// Users of a buffer of so many bytes, each of them possible, and what the buffer itself needs.
fn users() -> impl Strategy<Value = (u64, Constraints, Vec<Known>)> {
    (1..40_u64, constraints(), collection::vec(known(), 1..5)).prop_map(|(pages, base, mut all)| {
        let len = pages * PAGE;
        all.retain(|known| needs_of(known).own().impossible(len, PAGE).is_none());
        let base = match base.impossible(len, PAGE) {
            Some(_) => Constraints::ANY,
            None => base,
        };
        (len, base, all)
    })
}

/// What users need together, as a buffer of `len` bytes takes them.
fn together<'a>(base: &Constraints, len: u64, all: impl Iterator<Item = &'a Needs>) -> Together {
    all.fold(Together::new(base), |together, needs| {
        let mut needs = *needs;
        needs.suit(len, PAGE);
        together.with(&needs)
    })
}

/// A display of two planes that read memory of one class each, of which their parent alone says
/// that they read linear memory, too: a third device that reads nothing else shares with both.
#[test]
fn a_third_that_reads_linear_memory_joins_two_planes() {
    const LINEAR: u64 = 0b100;
    let planes = [user(0b001, Some(LINEAR)), user(0b010, Some(LINEAR))];
    let camera = user(LINEAR, None);
    let choose = |users: &[Needs]| {
        let all = together(&Constraints::ANY, PAGE, users.iter());
        let choice = all.choose(Choice::First, PAGE, PAGE);
        choice.map(|choice| (choice, all.by(choice).placement.access_mask))
    };
    let [left, right] = planes;
    assert_eq!(choose(&[left]), Ok((Choice::First, 0b001)));
    assert_eq!(choose(&planes), Ok((Choice::Second, LINEAR)));
    assert_eq!(choose(&[left, right, camera]), Ok((Choice::Second, LINEAR)));
    assert_eq!(choose(&[camera, right]), Ok((Choice::Second, LINEAR)));
    // Who has its classes by itself has the first choice.
    assert_eq!(
        choose(&[left, user(0b101, Some(0b010))]),
        Ok((Choice::First, 0b001))
    );
    let misfit = choose(&[left, user(0b010, None)]).unwrap_err();
    assert_eq!(misfit.field, Field::AccessMask);
    // What adds no class is no second choice, whatever else it says.
    let mut ancestor = mask(0b001, 1);
    ancestor.placement.max_segments = 1;
    let needs = Needs::new(&Facts::NONE, &mask(0b011, 0), Some(&ancestor));
    assert_eq!(needs, user(0b011, None));
    assert!(!needs.has_second() && left.has_second());
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn a_second_choice_adds_classes_and_all_else(known in known()) {
        let (facts, said, ancestor, is_translated) = known;
        let needs = needs_of(&known);
        // An IOMMU reaches all memory.
        let reach = |mut constraints: Constraints| {
            if is_translated {
                constraints.placement.max_address = u64::MAX;
            }
            constraints
        };
        let own = reach(facts.meet(&said));
        prop_assert_eq!(*needs.own(), own);
        prop_assert_eq!(*needs.by(Choice::First), own);
        let second = ancestor.map(|ancestor| reach(facts.meet(&ancestor)));
        let more = second.map_or(0, |second| second.placement.access_mask)
            & !own.placement.access_mask;
        prop_assert_eq!(needs.has_second(), more != 0);
        let mut either = own;
        if let Some(second) = second.filter(|_| more != 0) {
            either = own.meet(&second);
            either.placement.access_mask = own.placement.access_mask | more;
        }
        prop_assert_eq!(*needs.by(Choice::Second), either);
        for choice in [Choice::First, Choice::Second] {
            let memory = of_memory(needs.by(choice), is_translated);
            prop_assert_eq!(needs.of_memory(choice), memory);
        }
    }

    /// Where the hardware is coherent, all memory is; otherwise what is said is taken literally.
    #[test]
    fn coherent_hardware_takes_any_memory((facts, mut said, ancestor, _) in known()) {
        said.placement.coherent = true;
        let ancestor = ancestor.map(|mut ancestor| {
            ancestor.placement.coherent = true;
            ancestor
        });
        for is_coherent in [false, true] {
            let needs = Needs::new(&hardware(&facts, is_coherent), &said, ancestor.as_ref());
            for choice in [Choice::First, Choice::Second] {
                prop_assert_eq!(needs.by(choice).placement.coherent, !is_coherent);
            }
        }
    }

    #[test]
    fn memory_for_one_that_covers_serves_the_other(a in known(), b in known()) {
        let (is_translated, b_is_translated) = (a.3, b.3);
        let (a, b) = (needs_of(&a), needs_of(&b));
        let mut is_covered = [Choice::First, Choice::Second]
            .iter()
            .all(|choice| a.by(*choice).meet(b.by(*choice)) == *a.by(*choice));
        is_covered &= is_translated == b_is_translated;
        prop_assert_eq!(a.covers(&b), is_covered);
        prop_assert!(a.covers(&a));
    }

    /// What all need is a function of who is there: of no order, and of nobody who has gone.
    #[test]
    fn in_any_order((len, base, users) in users(), turn in any::<usize>()) {
        let all: Vec<_> = users.iter().map(needs_of).collect();
        let one = together(&base, len, all.iter());
        let (later, sooner) = all.split_at(turn % (all.len() + 1));
        let other = together(&base, len, sooner.iter().chain(later.iter().rev()));
        prop_assert_eq!(one, other);
    }

    /// First choices come first, and second ones are looked at only where those do not do.
    #[test]
    fn what_is_chosen_is_possible((len, base, users) in users()) {
        let all: Vec<_> = users.iter().map(needs_of).collect();
        let together = together(&base, len, all.iter());
        let is_possible = |choice| together.impossible(choice, len, PAGE).is_none();
        let (first, second) = (is_possible(Choice::First), is_possible(Choice::Second));
        let expected = match (first, second) {
            (true, _) => Some(Choice::First),
            (_, true) => Some(Choice::Second),
            _ => None,
        };
        prop_assert_eq!(together.choose(Choice::First, len, PAGE).ok(), expected);
        let preferred = match (first, second) {
            (_, true) => Some(Choice::Second),
            (true, _) => Some(Choice::First),
            _ => None,
        };
        prop_assert_eq!(together.choose(Choice::Second, len, PAGE).ok(), preferred);
        // Classes alone lead to the second choice.
        if expected == Some(Choice::Second) {
            prop_assert_eq!(together.by(Choice::First).placement.access_mask, 0);
        }
        if let Err(misfit) = together.choose(Choice::First, len, PAGE) {
            prop_assert_eq!(Some(misfit), together.impossible(Choice::First, len, PAGE));
        }
    }

    /// Who would be refused with a second choice would be refused without, and so would others.
    #[test]
    fn a_second_choice_refuses_nobody((len, base, users) in users(), which in any::<usize>()) {
        prop_assume!(!users.is_empty());
        let mut all: Vec<_> = users.iter().map(needs_of).collect();
        let with = together(&base, len, all.iter());
        let (facts, said, _, is_translated) = users[which % users.len()];
        all[which % users.len()] = needs_of(&(facts, said, None, is_translated));
        let without = together(&base, len, all.iter());
        let is_possible = |all: &Together| all.choose(Choice::First, len, PAGE).is_ok();
        prop_assert!(!is_possible(&without) || is_possible(&with));
    }
}

/// The strategy is worth something only if it draws what matters.
#[test]
fn users_need_second_choices() {
    let mut runner = TestRunner::deterministic();
    let (mut first, mut second, mut neither, mut given_up) = (0, 0, 0, 0);
    for _ in 0..1000 {
        let (len, base, users) = users().new_tree(&mut runner).unwrap().current();
        let all: Vec<_> = users.iter().map(needs_of).collect();
        match together(&base, len, all.iter()).choose(Choice::First, len, PAGE) {
            Ok(Choice::First) => first += 1,
            Ok(Choice::Second) => second += 1,
            Err(_) => neither += 1,
        }
        given_up += all
            .iter()
            .filter(|needs| {
                let mut suited = **needs;
                suited.suit(len, PAGE);
                suited != **needs
            })
            .count();
    }
    let drawn = format!("first {first}, second {second}, neither {neither}, given up {given_up}");
    assert!(
        first > 200 && second > 50 && neither > 50 && given_up > 50,
        "{drawn}"
    );
}

/// All preferences that there are, from none to the strongest.
fn preferences() -> [Preferences; 3] {
    [Strength::None, Strength::Weak, Strength::Strong].map(|contiguous| Preferences { contiguous })
}

#[test]
fn stronger_preferences_prevail() {
    for one in preferences() {
        assert_eq!(one.meet(one), one);
        assert_eq!(one.meet(Preferences::NONE), one);
        for other in preferences() {
            assert_eq!(one.meet(other), one.max(other));
            assert_eq!(one.meet(other), other.meet(one));
            for third in preferences() {
                assert_eq!(one.meet(other).meet(third), one.meet(other.meet(third)));
            }
        }
    }
}

#[test]
fn several_ranges_do_not_meet_any_preference() {
    let range = Range {
        start: 0,
        len: PAGE,
    };
    for one in preferences() {
        let is_some = one.contiguous != Strength::None;
        assert_eq!(one.is_some(), is_some);
        assert!(!one.unmet(&[]));
        assert!(!one.unmet(&[range]));
        assert_eq!(one.unmet(&[range, range]), is_some);
        assert_eq!(one.unmet(&[range; 3]), is_some);
    }
}

proptest! {
    #![proptest_config(config(2000))]

    /// What users prefer changes nothing of what they need, in any order, and counts for those
    /// alone for which nothing translates.
    #[test]
    fn preferences_refuse_nobody(
        (len, base, all) in users(),
        preferred in collection::vec(0..3_usize, 5),
        rotation in 0..5_usize,
    ) {
        let plain: Vec<_> = all.iter().map(needs_of).collect();
        let preferred = preferred.iter().map(|which| preferences()[*which]);
        let mut preferring: Vec<_> = Iterator::zip(plain.iter(), preferred.clone())
            .map(|(needs, preferred)| needs.preferring(preferred))
            .collect();
        let expected = Iterator::zip(all.iter(), preferred)
            .filter(|((.., is_translated), _)| !is_translated)
            .fold(Preferences::NONE, |meet, (_, preferred)| meet.max(preferred));
        let without = together(&base, len, plain.iter());
        let with = together(&base, len, preferring.iter());
        prop_assert_eq!(with, without);
        let preferences = preferring.iter().map(Needs::preferences);
        prop_assert_eq!(preferences.fold(Preferences::NONE, Preferences::meet), expected);
        for choice in [Choice::First, Choice::Second] {
            prop_assert_eq!(with.by(choice), without.by(choice));
            prop_assert_eq!(
                with.choose(choice, len, PAGE),
                without.choose(choice, len, PAGE)
            );
        }
        if !preferring.is_empty() {
            let by = rotation % preferring.len();
            preferring.rotate_left(by);
        }
        prop_assert_eq!(together(&base, len, preferring.iter()), with);
    }
}
