//! Which refusals of rules are told in the log. The hub places all rules anew with each connection.

use std::collections::BTreeMap;

/// Why rules were refused when they were placed last, by workflow.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<String, (u32, String)>);

impl Refusals {
    /// Takes those of a placing, of workflow, version and reason. Returns the ones that are news.
    pub(super) fn news(&mut self, now: Vec<(String, u32, String)>) -> Vec<(String, u32, String)> {
        let before = std::mem::take(&mut self.0);
        let mut news = Vec::new();
        for (workflow, version, why) in now {
            let known = before.get(&workflow);
            if known.is_none_or(|known| *known != (version, why.clone())) {
                news.push((workflow.clone(), version, why.clone()));
            }
            self.0.insert(workflow, (version, why));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_once_until_it_changes() {
        let mut refusals = Refusals::default();
        let of = |version, why: &str| vec![("cool".to_owned(), version, why.to_owned())];
        assert_eq!(refusals.news(of(1, "too dear")), of(1, "too dear"));
        for _ in 0..100 {
            assert_eq!(refusals.news(of(1, "too dear")), []);
        }
        assert_eq!(refusals.news(of(2, "too dear")), of(2, "too dear"));
        assert_eq!(refusals.news(of(2, "no device")), of(2, "no device"));
        assert_eq!(refusals.news(Vec::new()), [], "it is taken");
        assert_eq!(refusals.news(of(2, "no device")), of(2, "no device"));
    }
}
