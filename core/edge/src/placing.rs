//! What the hub tells a gateway of rules, and what the gateway answers.

use minicbor::{Decode, Encode};

use crate::{Error, MAX_RECORD_BYTES, Placed};

/// The longest reason of a refusal, in bytes.
const MAX_REASON: usize = 512;

/// All rules that are placed at a gateway: each message replaces the one before. It comes whenever
/// the gateway subscribes and whenever it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Placing(#[n(0)] pub Vec<String>);

/// What became of a rule that was placed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Verdict {
    /// The workflow.
    #[n(0)]
    pub workflow: String,
    /// The version.
    #[n(1)]
    pub version: u32,
    /// Why it is not judged; none: it is.
    #[n(2)]
    pub refused: Option<String>,
}

impl Placing {
    /// As many of these as fit into a message, and the ids of those that do not.
    pub fn of(placed: &[Placed]) -> (Self, Vec<String>) {
        let (mut texts, mut beyond, mut bytes) = (Vec::new(), Vec::new(), 0);
        for one in placed {
            // Of texts and numbers: this cannot fail.
            let text = serde_json::to_string(one).unwrap_or_default();
            if bytes + text.len() + 8 > MAX_RECORD_BYTES - 64 {
                beyond.push(one.workflow.clone());
                continue;
            }
            bytes += text.len() + 8;
            texts.push(text);
        }
        (Self(texts), beyond)
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = minicbor::encode(self, &mut bytes);
        bytes
    }

    /// Reads one that fills `bytes`.
    ///
    /// # Errors
    /// [`Error`] says where the bytes stop making sense.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut d = minicbor::Decoder::new(bytes);
        let placing = d.decode()?;
        if d.position() == bytes.len() {
            return Ok(placing);
        }
        let error = minicbor::decode::Error::message("there is more behind it");
        Err(error.at(d.position()).into())
    }

    /// The rules that this release understands, and a verdict on each of the others.
    pub fn read(&self) -> (Vec<Placed>, Vec<Verdict>) {
        let (mut placed, mut verdicts) = (Vec::new(), Vec::new());
        for text in &self.0 {
            match serde_json::from_str(text) {
                Ok(one) => placed.push(one),
                Err(error) => {
                    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
                    let workflow = value["workflow"].as_str().unwrap_or_default().to_owned();
                    let version = value["version"].as_u64().unwrap_or_default();
                    verdicts.push(Verdict::new(
                        workflow,
                        u32::try_from(version).unwrap_or(0),
                        Some(format!(
                            "this release of the gateway cannot read it: {error}"
                        )),
                    ));
                }
            }
        }
        (placed, verdicts)
    }
}

impl Verdict {
    /// With a reason that is cut to what may be sent.
    pub fn new(workflow: String, version: u32, refused: Option<String>) -> Self {
        Self {
            workflow,
            version,
            refused: refused.map(|mut why| {
                why.truncate(why.floor_char_boundary(MAX_REASON));
                why
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placed::tests::placed;

    const WARM: &str = r#"{"threshold":{"level":{"above":true,"limit":5.0},"hold_us":0}}"#;

    #[test]
    fn what_is_placed_comes_over_and_what_is_not_understood_is_told() {
        let (mut placing, beyond) = Placing::of(&[placed("a", WARM), placed("b", WARM)]);
        assert!(beyond.is_empty());
        placing
            .0
            .push(r#"{"workflow":"c","version":7,"when":"later"}"#.to_owned());
        placing.0.push("nonsense".to_owned());
        let read = Placing::decode(&placing.encode()).unwrap();
        assert_eq!(read, placing);
        let (rules, verdicts) = read.read();
        assert_eq!(rules, [placed("a", WARM), placed("b", WARM)]);
        assert_eq!(
            (verdicts[0].workflow.as_str(), verdicts[0].version),
            ("c", 7)
        );
        assert!(verdicts[0].refused.is_some() && verdicts.len() == 2);
        assert!(Placing::decode(&placing.encode()[1..]).is_err());
    }

    #[test]
    fn no_more_is_sent_than_a_message_holds() {
        let many: Vec<Placed> = (0..1_000)
            .map(|at| placed(&format!("rule-{at}"), WARM))
            .collect();
        let (placing, beyond) = Placing::of(&many);
        assert!(placing.encode().len() <= MAX_RECORD_BYTES);
        assert!(!beyond.is_empty() && placing.0.len() + beyond.len() == 1_000);
    }
}
