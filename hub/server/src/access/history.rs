//! How a right stood when, as it is shown: each standing with the time up to which it did.

use std::cmp::Reverse;

use serde::Serialize;
use stencil_store::{Page, RightStanding, StoodAs};

/// By what a right stands as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AccessStandingBy)]
pub(crate) enum StoodBy {
    /// What it was given for: its token, or its payment.
    Cause,
    /// Somebody of the tenant's.
    Hand,
}

/// How a right stood for a time, by one of the two. It stands as the worse of them says; where one says nothing,
/// by it the right held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = AccessStanding)]
pub(crate) struct Stood {
    /// How.
    pub(crate) standing: RightStanding,
    /// By what.
    pub(crate) by: StoodBy,
    /// From when, µs since the epoch: of a sale, the time of its block.
    pub(crate) from_us: i64,
    /// Up to when, where the next one by the same begins; null: it stands so.
    pub(crate) until_us: Option<i64>,
    /// When the hub heard of it, µs since the epoch. Receipts that came before were judged without it, and then
    /// again.
    pub(crate) known_us: i64,
}

impl Stood {
    /// Names its place in the list.
    fn cursor(&self) -> String {
        let by = match self.by {
            StoodBy::Cause => 'c',
            StoodBy::Hand => 'h',
        };
        format!("{}:{by}", self.from_us)
    }

    fn place(&self) -> (i64, bool) {
        (self.from_us, self.by == StoodBy::Cause)
    }
}

/// A page of how a right stood, the newest first, after a cursor; `None`: that is none.
pub(crate) fn page(stood: &[StoodAs], after: Option<&str>, limit: u32) -> Option<Page<Stood>> {
    let mut items = shown(stood);
    if let Some(after) = after {
        let (from_us, by) = after.split_once(':')?;
        let by_cause = match by {
            "c" => true,
            "h" => false,
            _ => return None,
        };
        let place: (i64, bool) = (from_us.parse().ok()?, by_cause);
        items.retain(|item| item.place() < place);
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
    let is_whole = items.len() <= limit;
    items.truncate(limit);
    let next = items.last().filter(|_| !is_whole).map(Stood::cursor);
    Some(Page { items, next })
}

/// All of them, the newest first. Each track comes in the order of time.
fn shown(stood: &[StoodAs]) -> Vec<Stood> {
    let mut items = Vec::with_capacity(stood.len());
    for by_cause in [true, false] {
        let mut track = stood.iter().filter(|it| it.by_cause == by_cause).peekable();
        while let Some(it) = track.next() {
            items.push(Stood {
                standing: it.standing,
                by: if by_cause {
                    StoodBy::Cause
                } else {
                    StoodBy::Hand
                },
                from_us: it.from_us,
                until_us: track.peek().map(|next| next.from_us),
                known_us: it.known_us,
            });
        }
    }
    items.sort_by_key(|it| Reverse(it.place()));
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stood(by_cause: bool, standing: RightStanding, from_us: i64) -> StoodAs {
        StoodAs {
            by_cause,
            standing,
            from_us,
            known_us: from_us + 5,
        }
    }

    #[test]
    fn each_track_has_its_own_times_and_pages_leave_nothing_out() {
        let all = [
            stood(false, RightStanding::Suspended, 20),
            stood(false, RightStanding::Held, 30),
            stood(true, RightStanding::Sold, 10),
            stood(true, RightStanding::Held, 30),
        ];
        let whole = page(&all, None, 100).unwrap();
        let said = whole.items.iter().map(|it| {
            let standing = it.standing.as_str();
            (standing, it.by, it.from_us, it.until_us, it.known_us)
        });
        let said: Vec<_> = said.collect();
        assert_eq!(
            said,
            [
                ("held", StoodBy::Cause, 30, None, 35),
                ("held", StoodBy::Hand, 30, None, 35),
                ("suspended", StoodBy::Hand, 20, Some(30), 25),
                ("sold", StoodBy::Cause, 10, Some(30), 15),
            ]
        );
        assert_eq!(whole.next, None);
        let (mut after, mut read): (Option<String>, Vec<Stood>) = (None, Vec::new());
        for _ in 0..all.len() {
            let one = page(&all, after.as_deref(), 1).unwrap();
            assert_eq!(one.items.len(), 1);
            read.extend(one.items);
            after = one.next;
        }
        assert_eq!((read, after), (whole.items, None));
        assert_eq!(page(&[], None, 1).unwrap().items, []);
        for wrong in ["", "30", "30:x", "x:c", ":c"] {
            assert_eq!(page(&all, Some(wrong), 1), None, "{wrong:?}");
        }
    }
}
