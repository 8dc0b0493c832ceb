//! Who of a group is taken out, given what each deserves: never so many that the rest must fail.
//!
//! | verdict | taken out |
//! |---|---|
//! | gone | always: sending requests to nobody helps nobody, and an empty group answers 503 at once |
//! | silent | unless it is the last one up |
//! | failing | as long as `panic_threshold` per cent of all stay up: it is more likely that all requests are bad than that most members are |

use super::standing::Verdict;

/// For each verdict, whether the member is up.
pub(crate) fn judge(verdicts: &[Verdict], panic_threshold: u32) -> Vec<bool> {
    let mut up: Vec<bool> = verdicts.iter().map(|verdict| *verdict != Verdict::Gone).collect();
    let mut left = up.iter().filter(|is_up| **is_up).count();
    for charge in [Verdict::Silent, Verdict::Failing] {
        for (is_up, _) in up.iter_mut().zip(verdicts).filter(|(_, verdict)| **verdict == charge) {
            let floor = if charge == Verdict::Silent { 1 } else { floor_of(verdicts.len(), panic_threshold) };
            if left > floor {
                *is_up = false;
                left -= 1;
            }
        }
    }
    up
}

/// The smallest number of members that is `percent` of `all`, and at least one.
fn floor_of(all: usize, percent: u32) -> usize {
    (all * percent as usize).div_ceil(100).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Failing, Gone, Silent, Up};
    use proptest::prelude::*;

    #[test]
    fn those_who_are_gone_are_out_even_if_nobody_is_left() {
        assert_eq!(judge(&[Gone, Gone], 50), [false, false]);
    }

    #[test]
    fn failing_members_stay_when_too_few_would_be_left() {
        assert_eq!(judge(&[Failing, Failing, Failing, Failing], 50), [false, false, true, true]);
        assert_eq!(judge(&[Failing, Up], 50), [false, true]);
        assert_eq!(judge(&[Failing], 50), [true]);
        assert_eq!(judge(&[Failing, Gone], 50), [true, false]);
    }

    #[test]
    fn the_last_silent_member_stays() {
        assert_eq!(judge(&[Silent, Silent, Silent], 50), [false, false, true]);
        assert_eq!(judge(&[Silent, Gone], 50), [true, false]);
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![Just(Up), Just(Failing), Just(Silent), Just(Gone)]
    }

    proptest! {
        #[test]
        fn whoever_deserves_work_gets_it_and_failing_ones_never_empty_the_group(
            verdicts in prop::collection::vec(verdict(), 0..12), threshold in 0u32..=100,
        ) {
            let up = judge(&verdicts, threshold);
            for (is_up, verdict) in up.iter().zip(&verdicts) {
                prop_assert!(*is_up || *verdict != Up);
                prop_assert!(!*is_up || *verdict != Gone);
            }
            let answering = verdicts.iter().filter(|verdict| **verdict != Gone).count();
            let left = up.iter().filter(|is_up| **is_up).count();
            prop_assert_eq!(left == 0, answering == 0);
            let expelled = up.iter().zip(&verdicts).any(|(is_up, verdict)| !is_up && *verdict == Failing);
            prop_assert!(!expelled || left * 100 >= verdicts.len() * threshold as usize);
        }
    }
}
