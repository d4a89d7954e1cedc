//! What those may take of a listener who have not shown yet who they are.
//!
//! Whoever reaches a port can hold connections open without a word, and can cause lines in the log.
//! Both have bounds here, for every listener alike:
//!
//! - [`Places`]: how many connections there may be, how many of strangers, and how many of one
//!   address. Where there is no room, an old stranger makes way for a new one, so that who means well
//!   gets in while somebody holds all places.
//! - [`Lines`]: of one address and one cause there is one line, and then a count now and then. So the
//!   log keeps what else there was to say.
//! - [`shown`]: what a stranger calls itself, cut and escaped.
//!
//! An address is an IPv4 address, or an IPv6 network of 64 bits: that is the least that a customer
//! has.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod lines;
mod places;
mod shown;

use std::net::{IpAddr, Ipv6Addr};

pub use lines::{Lines, Who};
pub use places::{Bounds, Figures, Full, Place, Places};
pub use shown::{Shown, shown};

/// Who shares an address: itself in IPv4, a /64 in IPv6. An IPv4 address that was mapped to IPv6 is
/// one of IPv4.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_customers() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
