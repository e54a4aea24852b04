//! The order in which a key's trunks are tried.
//!
//! It knows assignments, numbers and prefixes. It refuses to know limits (asked when a trunk is
//! dialled) and addresses. Start at [`order`].

use crate::number::{Number, prefixes_permit};
use crate::store::{Trunk, TrunkId};

/// Why no trunk may be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoute {
    /// None is assigned, or all are disabled.
    NoTrunks,
    /// `*` or `#`, and no trunk takes them.
    StarOrHash,
    /// Every trunk's own prefixes deny the number.
    Denied,
}

/// Whether a call with these numbers may have `*` and `#` where it has them: an enabled trunk takes
/// them.
pub fn takes_characters(assigned: &[Trunk], has_star_or_hash: bool) -> bool {
    let takes = |trunk: &Trunk| !trunk.disabled && trunk.settings.allow_star_hash;
    !has_star_or_hash || assigned.iter().any(takes)
}

/// The trunks to try for `number`, best first, as indices into `assigned`: round robin from the one
/// after `last`, without those that are disabled or do not take the number. Where all others are
/// unreachable, they are dialled all the same. `has_star_or_hash`: the number or the caller id.
///
/// # Errors
/// [`NoRoute`].
pub fn order(
    assigned: &[Trunk],
    last: Option<TrunkId>,
    number: &Number,
    has_star_or_hash: bool,
    is_reachable: impl Fn(TrunkId) -> bool,
) -> Result<Vec<usize>, NoRoute> {
    let first = last
        .and_then(|last| assigned.iter().position(|trunk| trunk.id == last))
        .map_or(0, |at| at + 1);
    let all = (0..assigned.len()).map(|step| (first + step) % assigned.len());
    let enabled = all.filter_map(|at| Some((at, assigned.get(at).filter(|it| !it.disabled)?)));
    let enabled: Vec<_> = enabled.collect();
    let taken = narrowed(&enabled, NoRoute::NoTrunks, |_| true)?;
    let taken = narrowed(&taken, NoRoute::StarOrHash, |trunk| {
        trunk.settings.allow_star_hash || !has_star_or_hash
    })?;
    let taken = narrowed(&taken, NoRoute::Denied, |trunk| {
        let settings = &trunk.settings;
        prefixes_permit(number.as_str(), &settings.allow_prefixes, &settings.deny_prefixes)
    })?;
    let reachable: Vec<_> =
        taken.iter().filter(|(_, trunk)| is_reachable(trunk.id)).map(|(at, _)| *at).collect();
    if reachable.is_empty() {
        return Ok(taken.into_iter().map(|(at, _)| at).collect());
    }
    Ok(reachable)
}

fn narrowed<'a>(
    trunks: &[(usize, &'a Trunk)],
    otherwise: NoRoute,
    keep: impl Fn(&Trunk) -> bool,
) -> Result<Vec<(usize, &'a Trunk)>, NoRoute> {
    let kept: Vec<_> = trunks.iter().filter(|(_, trunk)| keep(trunk)).copied().collect();
    if kept.is_empty() { Err(otherwise) } else { Ok(kept) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Millis, TrunkSettings};

    fn trunks(count: i64) -> Vec<Trunk> {
        let trunk = |id: i64| Trunk {
            id: TrunkId(id),
            settings: TrunkSettings::new(format!("t{id}"), "sip:192.0.2.1"),
            disabled: false,
            created_at: Millis(0),
            updated_at: Millis(0),
        };
        (1..=count).map(trunk).collect()
    }

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn each_call_starts_after_the_previous_ones_start() {
        let trunks = trunks(3);
        let from = |last: Option<i64>| {
            order(&trunks, last.map(TrunkId), &number("4420"), false, |_| true).unwrap()
        };
        assert_eq!(from(None), [0, 1, 2]);
        assert_eq!(from(Some(1)), [1, 2, 0]);
        assert_eq!(from(Some(3)), [0, 1, 2]);
        assert_eq!(from(Some(9)), [0, 1, 2], "a trunk that was taken from the key");
    }

    #[test]
    fn disabled_ones_are_skipped_and_all_disabled_is_none_assigned() {
        let mut trunks = trunks(3);
        trunks[1].disabled = true;
        assert_eq!(order(&trunks, None, &number("4420"), false, |_| true), Ok(vec![0, 2]));
        assert_eq!(
            order(&trunks, Some(TrunkId(1)), &number("4420"), false, |_| true),
            Ok(vec![2, 0])
        );
        trunks.iter_mut().for_each(|trunk| trunk.disabled = true);
        assert_eq!(order(&trunks, None, &number("4420"), false, |_| true), Err(NoRoute::NoTrunks));
        assert_eq!(order(&[], None, &number("4420"), false, |_| true), Err(NoRoute::NoTrunks));
    }

    #[test]
    fn unreachable_ones_are_skipped_unless_all_are() {
        let trunks = trunks(3);
        let reach = |ids: &'static [i64]| {
            order(&trunks, None, &number("4420"), false, |id| ids.contains(&id.0)).unwrap()
        };
        assert_eq!(reach(&[2, 3]), [1, 2]);
        assert_eq!(reach(&[]), [0, 1, 2]);
    }

    #[test]
    fn a_trunks_own_rules_skip_it() {
        let mut trunks = trunks(2);
        trunks[0].settings.deny_prefixes.0.push("44".to_owned());
        assert_eq!(order(&trunks, None, &number("4420"), false, |_| true), Ok(vec![1]));
        trunks[1].settings.allow_prefixes.0.push("49".to_owned());
        assert_eq!(order(&trunks, None, &number("4420"), false, |_| true), Err(NoRoute::Denied));
        assert_eq!(order(&trunks, None, &number("*43#"), true, |_| true), Err(NoRoute::StarOrHash));
        assert!(takes_characters(&trunks, false) && !takes_characters(&trunks, true));
        trunks[0].settings.allow_star_hash = true;
        assert!(takes_characters(&trunks, true));
        assert_eq!(order(&trunks, None, &number("*43#"), true, |_| true), Ok(vec![0]));
    }
}
