//! Several endpoints, of which enough have to say the same.

use std::fmt::Display;
use std::future::Future;

use alloy_primitives::B256;
use futures_util::future::join_all;
use url::Url;

use super::{Endpoint, Failure, Header, Trouble, endpoint};
use crate::config::label;
use crate::{Error, Settings};

/// The endpoints of a chain.
#[derive(Debug)]
pub struct Quorum {
    endpoints: Vec<Endpoint>,
    agree: usize,
}

/// How an endpoint stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Host and port.
    pub endpoint: String,
    /// Its newest block.
    pub head: Result<u64, Failure>,
}

impl Quorum {
    /// Of a chain's settings.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let http = endpoint::http(settings.call_timeout)?;
        Ok(Self {
            endpoints: settings
                .endpoints
                .iter()
                .zip(labels(&settings.endpoints))
                .map(|(url, label)| Endpoint::new(label, url, settings, &http))
                .collect(),
            agree: settings.agree,
        })
    }

    /// Whether answers are checked against those of others.
    pub fn is_cross_checked(&self) -> bool {
        self.agree > 1
    }

    /// How many have to say the same.
    pub(crate) fn agree(&self) -> usize {
        self.agree
    }

    /// Checks that no endpoint that answers is of another chain.
    pub async fn check_chain(&self) -> Result<(), Trouble> {
        for (endpoint, checked) in self.ask(Endpoint::check_chain).await {
            if let Err(Failure::WrongChain { expected, found }) = checked {
                return Err(Trouble::WrongChain {
                    endpoint: endpoint.to_owned(),
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }

    /// How each endpoint stands.
    pub async fn health(&self) -> Vec<Health> {
        self.ask(|endpoint| endpoint.header_by("latest"))
            .await
            .into_iter()
            .map(|(endpoint, head)| Health {
                endpoint: endpoint.to_owned(),
                head: head.map(|head| head.link.number),
            })
            .collect()
    }

    /// The newest block that enough endpoints have come to: as they are never at the same one, that
    /// is the lowest of the highest. What an endpoint that answers from behind says does no harm.
    pub async fn newest(&self, tag: &'static str) -> Result<Header, Trouble> {
        let answers = self.ask(|endpoint| endpoint.header_by(tag)).await;
        let mut there: Vec<Header> = Vec::new();
        let mut failed = Vec::new();
        for (endpoint, answer) in answers {
            match answer {
                Ok(header) => there.push(header),
                Err(failure) => failed.push((endpoint.to_owned(), failure)),
            }
        }
        there.sort_by_key(|header| std::cmp::Reverse(header.link.number));
        match there.into_iter().nth(self.agree - 1) {
            Some(header) => Ok(header),
            None => Err(self.too_few(format!("the block `{tag}`"), 0, failed)),
        }
    }

    /// Who has not come to this block, with the newest block of each, where another one has; else nobody.
    pub(crate) async fn lag(&self, number: u64) -> Vec<(String, u64)> {
        let answers = self.ask(|endpoint| endpoint.header_by("latest")).await;
        let heads = answers
            .into_iter()
            .filter_map(|(endpoint, head)| Some((endpoint.to_owned(), head.ok()?.link.number)));
        let (below, there): (Vec<_>, Vec<_>) = heads.partition(|(_, head)| *head < number);
        if there.is_empty() { there } else { below }
    }

    /// The block with this number, on which enough endpoints agree.
    pub async fn header_at(&self, number: u64) -> Result<Header, Trouble> {
        self.agreed(
            &format!("block {number}"),
            |endpoint| endpoint.header_at(number),
            |header| header.link.hash.to_string(),
        )
        .await
    }

    /// The block with this hash.
    pub async fn header_of(&self, hash: B256) -> Result<Header, Trouble> {
        self.agreed(
            &format!("block {hash}"),
            |endpoint| endpoint.header_of(hash, false),
            |header| format!("block {} on {}", header.link.number, header.link.parent),
        )
        .await
    }

    /// What enough endpoints say alike. `told` is how an answer is told where they don't.
    pub(crate) async fn agreed<'a, T, F, Told>(
        &'a self,
        what: &str,
        ask: impl Fn(&'a Endpoint) -> F,
        told: impl Fn(&T) -> Told,
    ) -> Result<T, Trouble>
    where
        T: PartialEq,
        F: Future<Output = Result<T, Failure>>,
        Told: Display,
    {
        let mut groups: Vec<(T, Vec<&str>)> = Vec::new();
        let mut failed = Vec::new();
        for (endpoint, answer) in self.ask(ask).await {
            match answer {
                Ok(answer) => match groups.iter_mut().find(|(other, _)| *other == answer) {
                    Some((_, who)) => who.push(endpoint),
                    None => groups.push((answer, vec![endpoint])),
                },
                Err(failure) => failed.push((endpoint.to_owned(), failure)),
            }
        }
        let most = groups.iter().map(|(_, who)| who.len()).max().unwrap_or(0);
        let enough = groups.iter().filter(|(_, who)| who.len() >= self.agree);
        if enough.count() == 1 {
            groups.retain(|(_, who)| who.len() >= self.agree);
            if let Some((answer, _)) = groups.pop() {
                return Ok(answer);
            }
        }
        // Also where two groups are large enough: nobody can tell which is right.
        if groups.len() > 1 {
            let who = groups.iter().flat_map(|(answer, who)| {
                let said = told(answer).to_string();
                who.iter().map(move |who| ((*who).to_owned(), said.clone()))
            });
            return Err(Trouble::Disagree {
                what: what.to_owned(),
                who: who.collect(),
            });
        }
        Err(self.too_few(what.to_owned(), most, failed))
    }

    fn too_few(&self, what: String, have: usize, why: Vec<(String, Failure)>) -> Trouble {
        let of = |is: fn(&Failure) -> bool| -> Vec<(String, Failure)> {
            why.iter()
                .filter(|(_, failure)| is(failure))
                .cloned()
                .collect()
        };
        for (endpoint, failure) in &why {
            if let Failure::WrongChain { expected, found } = failure {
                return Trouble::WrongChain {
                    endpoint: endpoint.clone(),
                    expected: *expected,
                    found: *found,
                };
            }
        }
        let left = self.endpoints.len();
        let refused = of(|failure| matches!(failure, Failure::Refused(_)));
        if left - refused.len() < self.agree {
            return Trouble::Refused { what, why: refused };
        }
        let too_large = of(|failure| matches!(failure, Failure::TooLarge(_)));
        if left - too_large.len() < self.agree {
            return Trouble::TooLarge {
                what,
                why: too_large,
            };
        }
        Trouble::Unknown {
            what,
            have,
            want: self.agree,
            why,
        }
    }

    /// Asks all at once.
    pub(super) async fn ask<'a, T, F>(
        &'a self,
        ask: impl Fn(&'a Endpoint) -> F,
    ) -> Vec<(&'a str, Result<T, Failure>)>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        join_all(self.endpoints.iter().map(|endpoint| {
            let answer = ask(endpoint);
            async move { (endpoint.label(), answer.await) }
        }))
        .await
    }
}

/// Names that tell endpoints apart: two of one host differ by what may not be shown.
fn labels(urls: &[Url]) -> Vec<String> {
    let plain: Vec<String> = urls.iter().map(label).collect();
    let named = |(place, name): (usize, &String)| {
        let same = plain.iter().filter(|other| *other == name).count();
        if same > 1 {
            format!("{name} (number {})", place + 1)
        } else {
            name.clone()
        }
    };
    plain.iter().enumerate().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_endpoints_of_one_host_are_told_apart_without_their_keys() {
        let urls = [
            "https://a.example/KEY1",
            "https://a.example/KEY2",
            "https://b.example/KEY3",
        ];
        let urls: Vec<Url> = urls.iter().map(|url| url.parse().unwrap()).collect();
        assert_eq!(
            labels(&urls),
            ["a.example (number 1)", "a.example (number 2)", "b.example"]
        );
    }
}
