//! What a chain is like, where it is asked, and when it is believed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::backfill::Bounds;
use crate::finality::Finality;
use crate::{Error, plain};

/// Chains that are known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Ethereum's main network: blocks every 12 s, final by its own tag after two epochs.
    Ethereum,
    /// Polygon PoS: blocks every 2 s, final by its own tag (milestones). Logs of bridged deposits are
    /// in no bloom filter, so every block is asked.
    Polygon,
    /// A Besu network with QBFT or IBFT 2.0: a block is final when it is there. A block's hash leaves
    /// out the commit seals, so it can't be computed from the header.
    Besu,
}

impl std::str::FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ethereum" => Ok(Self::Ethereum),
            "polygon" => Ok(Self::Polygon),
            "besu" => Ok(Self::Besu),
            _ => Err(format!(
                "{text:?}; `ethereum`, `polygon` or `besu` is right"
            )),
        }
    }
}

/// Where to begin with a chain that was never followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the block after the newest one.
    Latest,
    /// With this block.
    Block(u64),
}

impl std::str::FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("latest", _) => Ok(Self::Latest),
            (_, Ok(number)) => Ok(Self::Block(number)),
            _ => Err(format!("{text:?}; `latest` or a block's number is right")),
        }
    }
}

impl Serialize for Start {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Latest => serializer.serialize_str("latest"),
            Self::Block(number) => serializer.serialize_u64(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(Self::Block(number)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// Settings of a chain as they are written; what is left out follows from the preset, then from
/// what is right for most chains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The chain's name here: what it is called in the store and in what is printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A chain that is known by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// EIP-155 chain id, which every endpoint must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain_id: Option<u64>,
    /// HTTP endpoints (JSON-RPC). Keys within an address are never logged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Has to be true where `endpoints` or `wake` are on another machine and asked without TLS, by `http://` or
    /// `ws://`: whoever sits between reads what is asked, and can change what is answered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_plain: bool,
    /// How many endpoints must say the same. 2 by default where there are two or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agree: Option<usize>,
    /// A WebSocket endpoint whose `newHeads` wake the follower early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wake: Option<String>,
    /// When a block is final: a number of confirmations, `safe` or `finalized`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finality: Option<Finality>,
    /// Where to begin with a chain that was never followed: `latest` or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// Milliseconds between two looks for a new block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll_interval_ms: Option<u64>,
    /// Milliseconds that a call may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_timeout_ms: Option<u64>,
    /// The largest answer, in KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_answer_kib: Option<usize>,
    /// How many blocks are kept for walking back: the deepest reorganisation that is dealt with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<u64>,
    /// Blocks of the first range when catching up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_first: Option<u64>,
    /// Blocks of the largest range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_max: Option<u64>,
    /// Blocks below the newest that are never caught up with by ranges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_margin: Option<u64>,
    /// Whether blocks' bloom filters are right, so that a block is passed over by its filter and its
    /// logs are checked against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blooms: Option<bool>,
    /// Whether a block's hash is the Keccak-256 of its header, and so is computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_hashes: Option<bool>,
    /// How many seconds the time of its blocks may be ahead of the hub's clock and be believed. More is for dev
    /// chains whose clock is moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ahead_s: Option<u64>,
    /// How many seconds the time of its newest block may be behind the hub's clock before the chain is said to
    /// stand still. 0 is for chains that make a block only when there is something in it: nothing is said of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_behind_s: Option<u64>,
}

/// Settings of a chain, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The chain's name here.
    pub name: String,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// HTTP endpoints.
    pub endpoints: Vec<Url>,
    /// How many endpoints must say the same.
    pub agree: usize,
    /// A WebSocket endpoint.
    pub wake: Option<Url>,
    /// When a block is final.
    pub finality: Finality,
    /// Where to begin.
    pub start: Start,
    /// Between two looks for a new block.
    pub poll_interval: Duration,
    /// What a call may take.
    pub call_timeout: Duration,
    /// The largest answer, in bytes.
    pub max_answer_bytes: usize,
    /// How many blocks are kept for walking back.
    pub max_depth: u64,
    /// Sizes of ranges.
    pub ranges: Bounds,
    /// Blocks below the newest that are never caught up with by ranges.
    pub range_margin: u64,
    /// Whether bloom filters are right.
    pub blooms: bool,
    /// Whether hashes are those of headers.
    pub header_hashes: bool,
    /// How far the time of its blocks may be ahead of ours.
    pub max_ahead: Duration,
    /// How far the time of its newest block may be behind ours; `None`: as far as it likes.
    pub max_behind: Option<Duration>,
}

/// What a preset gives: chain id, finality, milliseconds between looks, blooms, header hashes.
type Given = (Option<u64>, Finality, u64, bool, bool);

impl Options {
    fn given(&self) -> Given {
        match self.preset {
            Some(Preset::Ethereum) => (Some(1), Finality::Finalized, 4_000, true, true),
            Some(Preset::Polygon) => (Some(137), Finality::Finalized, 1_000, false, false),
            Some(Preset::Besu) => (None, Finality::Confirmations(1), 1_000, true, false),
            None => (None, Finality::Confirmations(12), 1_000, true, true),
        }
    }

    fn address(&self, key: &'static str, text: &str, schemes: &[&str]) -> Result<Url, Error> {
        let url = address(key, text, schemes)?;
        plain::check(key, &url, ("allow_plain", self.allow_plain))?;
        Ok(url)
    }

    /// Checks the settings and fills in what was left out.
    pub fn settle(&self) -> Result<Settings, Error> {
        let (chain_id, finality, poll_ms, blooms, header_hashes) = self.given();
        let chain_id = self.chain_id.or(chain_id).ok_or_else(|| {
            Error::setting(
                "chain_id",
                "is missing: the EIP-155 id of the chain, which every endpoint is checked against \
                 (1 is Ethereum, 137 Polygon, 31337 a local development chain)",
            )
        })?;
        let endpoints = self
            .endpoints
            .iter()
            .map(|endpoint| self.address("endpoints", endpoint, &["http", "https"]))
            .collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(Error::setting(
                "endpoints",
                "at least one is needed, and two of different operators where money is concerned: \
                 what a single one says can't be checked",
            ));
        }
        for (place, endpoint) in endpoints.iter().enumerate() {
            if endpoints[..place].contains(endpoint) {
                return Err(Error::setting(
                    "endpoints",
                    format!(
                        "number {} is there twice: it would agree with itself",
                        place + 1
                    ),
                ));
            }
        }
        let agree = self.agree.unwrap_or(endpoints.len().min(2));
        if !(1..=endpoints.len()).contains(&agree) {
            return Err(Error::setting(
                "agree",
                format!(
                    "{agree}; there are {} endpoints, so 1 to {} is right",
                    endpoints.len(),
                    endpoints.len()
                ),
            ));
        }
        let wake = self
            .wake
            .as_deref()
            .map(|wake| self.address("wake", wake, &["ws", "wss"]))
            .transpose()?;
        let name = self.name.clone().unwrap_or_else(|| match self.preset {
            Some(Preset::Ethereum) => "ethereum".to_owned(),
            Some(Preset::Polygon) => "polygon".to_owned(),
            Some(Preset::Besu) | None => format!("eip155-{chain_id}"),
        });
        let max_depth = within("max_depth", self.max_depth.unwrap_or(4_096), 1, 1_000_000)?;
        let range_max = within("range_max", self.range_max.unwrap_or(2_000), 1, 100_000)?;
        Ok(Settings {
            name,
            chain_id,
            endpoints,
            agree,
            wake,
            finality: self.finality.unwrap_or(finality),
            start: self.start.unwrap_or(Start::Latest),
            poll_interval: Duration::from_millis(within(
                "poll_interval_ms",
                self.poll_interval_ms.unwrap_or(poll_ms),
                10,
                3_600_000,
            )?),
            call_timeout: Duration::from_millis(within(
                "call_timeout_ms",
                self.call_timeout_ms.unwrap_or(10_000),
                10,
                600_000,
            )?),
            max_answer_bytes: within(
                "max_answer_kib",
                self.max_answer_kib.unwrap_or(32 * 1024),
                16,
                1024 * 1024,
            )? * 1024,
            max_depth,
            ranges: Bounds {
                first: within(
                    "range_first",
                    self.range_first.unwrap_or(100).min(range_max),
                    1,
                    100_000,
                )?,
                max: range_max,
            },
            range_margin: within("range_margin", self.range_margin.unwrap_or(64), 1, 100_000)?,
            blooms: self.blooms.unwrap_or(blooms),
            header_hashes: self.header_hashes.unwrap_or(header_hashes),
            max_ahead: Duration::from_secs(within(
                "max_ahead_s",
                self.max_ahead_s.unwrap_or(60),
                0,
                10 * 366 * 86_400,
            )?),
            max_behind: match within(
                "max_behind_s",
                self.max_behind_s.unwrap_or(300),
                0,
                10 * 366 * 86_400,
            )? {
                0 => None,
                seconds => Some(Duration::from_secs(seconds)),
            },
        })
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    key: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<T, Error> {
    if value < least || value > most {
        return Err(Error::setting(
            key,
            format!("{value}; {least} to {most} is right"),
        ));
    }
    Ok(value)
}

fn address(key: &'static str, text: &str, schemes: &[&str]) -> Result<Url, Error> {
    // Not the text itself: it may hold a key.
    let url = Url::parse(text).map_err(|error| {
        Error::setting(
            key,
            format!(
                "an address can't be read: {error}; one begins with {}://",
                schemes[0]
            ),
        )
    })?;
    if !schemes.contains(&url.scheme()) {
        return Err(Error::setting(
            key,
            format!(
                "an address begins with {}://; {} is right",
                url.scheme(),
                schemes.join(":// or ") + "://"
            ),
        ));
    }
    if url.host_str().is_none() {
        return Err(Error::setting(key, "an address has no host"));
    }
    Ok(url)
}

/// A setting's address as it may be shown: its path and what follows may be a key.
pub fn shown(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) if url.path().len() > 1 || url.query().is_some() || !url.username().is_empty() => {
            format!("{}://{}/…", url.scheme(), label(&url))
        }
        Ok(_) => text.to_owned(),
        Err(_) => "…".to_owned(),
    }
}

/// An address as it may be shown: without what may be a key in it.
pub(crate) fn label(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Options {
        Options {
            chain_id: Some(31_337),
            endpoints: vec![
                "http://127.0.0.1:8545".to_owned(),
                "http://127.0.0.1:8546".to_owned(),
            ],
            ..Options::default()
        }
    }

    #[test]
    fn two_endpoints_are_checked_against_each_other_without_being_asked_to() {
        let settings = local().settle().unwrap();
        assert_eq!(
            (settings.agree, settings.name.as_str()),
            (2, "eip155-31337")
        );
        let mut single = local();
        single.endpoints.pop();
        assert_eq!(single.settle().unwrap().agree, 1);
    }

    #[test]
    fn a_chain_stands_still_after_five_minutes_or_never_where_blocks_come_on_demand() {
        let of = |max_behind_s| {
            Options {
                max_behind_s,
                ..local()
            }
            .settle()
            .unwrap()
            .max_behind
        };
        assert_eq!(of(None), Some(Duration::from_secs(300)));
        assert_eq!(of(Some(15)), Some(Duration::from_secs(15)));
        assert_eq!(of(Some(0)), None);
    }

    #[test]
    fn presets_are_what_their_chains_are() {
        let of = |preset, chain_id| {
            Options {
                preset: Some(preset),
                chain_id,
                ..local()
            }
            .settle()
            .unwrap()
        };
        let ethereum = of(Preset::Ethereum, None);
        assert_eq!(
            (ethereum.chain_id, ethereum.finality),
            (1, Finality::Finalized)
        );
        let polygon = of(Preset::Polygon, None);
        assert!(polygon.chain_id == 137 && !polygon.blooms);
        let besu = of(Preset::Besu, Some(1_337));
        assert_eq!(
            (besu.chain_id, besu.finality),
            (1_337, Finality::Confirmations(1))
        );
        assert!(!besu.header_hashes);
    }

    #[test]
    fn without_tls_another_machine_is_asked_only_where_that_is_said() {
        let open = "http://192.0.2.7:8545/SECRET".to_owned();
        for (key, right, mut options) in [
            (
                "endpoints",
                "https://",
                Options {
                    endpoints: vec!["http://127.0.0.1:8545".to_owned(), open],
                    ..local()
                },
            ),
            (
                "wake",
                "wss://",
                Options {
                    wake: Some("ws://rpc.example/SECRET".to_owned()),
                    ..local()
                },
            ),
        ] {
            let error = options.settle().unwrap_err().to_string();
            for part in [key, right, "allow_plain = true"] {
                assert!(error.contains(part), "{part}: {error}");
            }
            assert!(!error.contains("SECRET"), "{error}");
            options.allow_plain = true;
            options.settle().unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_is_right_and_without_keys() {
        let cases: [(Options, &str); 7] = [
            (
                Options {
                    chain_id: None,
                    ..local()
                },
                "31337 a local development chain",
            ),
            (
                Options {
                    endpoints: vec![],
                    ..local()
                },
                "at least one",
            ),
            (
                Options {
                    endpoints: vec!["https://a".into(), "https://a".into()],
                    ..local()
                },
                "agree with itself",
            ),
            (
                Options {
                    agree: Some(3),
                    ..local()
                },
                "1 to 2 is right",
            ),
            (
                Options {
                    endpoints: vec!["ws://a/SECRET".into()],
                    ..local()
                },
                "http:// or https:// is right",
            ),
            (
                Options {
                    wake: Some("http://a/SECRET".into()),
                    ..local()
                },
                "ws:// or wss:// is right",
            ),
            (
                Options {
                    poll_interval_ms: Some(1),
                    ..local()
                },
                "10 to 3600000 is right",
            ),
        ];
        for (options, expected) in cases {
            let error = options.settle().unwrap_err().to_string();
            assert!(
                error.contains(expected) && !error.contains("SECRET"),
                "{error}"
            );
        }
        let url = Url::parse("https://user:pass@rpc.example/v2/KEY?k=1").unwrap();
        assert_eq!(label(&url), "rpc.example");
    }
}
