//! Settings that contradict each other, or that would open the hub by mistake, are refused at
//! start.

use super::{Options, ranges};
use crate::Error;
use crate::ingest::MAX_APPEND_BYTES;

impl Options {
    /// Refuses settings that contradict each other or that would open the hub by mistake.
    ///
    /// # Errors
    /// [`Error::Option`] with the key, what is wrong with it and what would be right.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(plain) = self.mqtt.plain
            && !plain.ip().is_loopback()
        {
            return Err(Error::option(
                "mqtt.plain",
                format!(
                    "{plain} is not a loopback address; use 127.0.0.1, or `mqtt.prefer` for TLS"
                ),
            ));
        }
        ranges::check(self)?;
        if self.mqtt.max_packet_bytes < 2_048 {
            return Err(Error::option(
                "mqtt.max_packet_bytes",
                "a device's batch may have 1024 bytes and its topic some more; use 2048 or more",
            ));
        }
        if self.log.segment_bytes < u64::from(self.mqtt.max_packet_bytes) + 1_024 {
            return Err(Error::option(
                "log.segment_bytes",
                "a segment must hold the largest packet (`mqtt.max_packet_bytes` + 1024)",
            ));
        }
        let room = self
            .log
            .segment_bytes
            .saturating_mul(2)
            .saturating_add(self.log.keep_bytes)
            .saturating_add(u64::from(self.mqtt.max_packet_bytes))
            .saturating_add(MAX_APPEND_BYTES);
        if self.log.max_bytes < room {
            return Err(Error::option(
                "log.max_bytes",
                format!(
                    "{} is too little: `keep_bytes`, two segments, the largest packet and what \
                     one read of a socket may bring must fit, else the log would be full for \
                     ever; at least {room}",
                    self.log.max_bytes
                ),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_consistent_and_on_loopback() {
        let options = Options::default();
        options.check().unwrap();
        assert!(options.http.listen.ip().is_loopback());
        assert!(options.mqtt.strict.ip().is_loopback());
        assert!(options.mqtt.prefer.is_none() && options.mqtt.plain.is_none());
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = serde_json::from_str::<Options>(r#"{"mqtt":{"pliain":"127.0.0.1:1883"}}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("pliain"), "{error}");
    }

    #[test]
    fn a_plain_listener_off_loopback_is_refused() {
        let mut options = Options::default();
        options.mqtt.plain = Some("0.0.0.0:1883".parse().unwrap());
        let error = options.check().unwrap_err().to_string();
        assert!(
            error.contains("mqtt.plain") && error.contains("loopback"),
            "{error}"
        );
    }

    #[test]
    fn a_log_that_could_never_have_room_is_refused() {
        let mut options = Options::default();
        options.log.max_bytes = options.log.keep_bytes;
        assert!(
            options
                .check()
                .unwrap_err()
                .to_string()
                .contains("log.max_bytes")
        );
    }
}
