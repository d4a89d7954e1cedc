//! Breaking a running board the way a cosmic ray would: its next instruction becomes another.
//! The emulator's debugger stub does it; nothing in the image knows of it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::support::LIMIT;

/// A branch to itself: the program hangs.
pub(crate) const HANG: [u8; 2] = [0xfe, 0xe7];
/// An undefined instruction: a fault.
pub(crate) const UNDEFINED: [u8; 2] = [0x00, 0xde];

/// Puts `instruction` where the program stands, and lets it go on; says where that was.
pub(crate) fn strike(stub: &Path, instruction: [u8; 2]) -> u32 {
    let mut stub = Stub(UnixStream::connect(stub).expect("the debugger's stub"));
    stub.0.set_read_timeout(Some(LIMIT)).unwrap();
    let registers = stub.ask("g");
    let counter = registers.get(15 * 8..16 * 8).expect("sixteen registers");
    let counter = u32::from_str_radix(counter, 16).unwrap().swap_bytes();
    let [low, high] = instruction;
    let written = stub.ask(&format!("M{counter:x},2:{low:02x}{high:02x}"));
    assert_eq!(written, "OK");
    assert_eq!(stub.ask("D"), "OK");
    counter
}

/// The remote serial protocol: `$data#sum`, answered by `+` and the same from the other side.
struct Stub(UnixStream);

impl Stub {
    fn ask(&mut self, data: &str) -> String {
        let sum = data.bytes().fold(0_u8, u8::wrapping_add);
        write!(self.0, "${data}#{sum:02x}").unwrap();
        loop {
            let answer = self.packet();
            // That the machine has stopped since we are here is said unasked.
            if !answer.starts_with('T') {
                return answer;
            }
        }
    }

    fn packet(&mut self) -> String {
        let mut packet = Vec::new();
        let mut byte = [0];
        // Up to the sum's two digits.
        while packet.iter().rev().nth(2) != Some(&b'#') {
            self.0.read_exact(&mut byte).expect("the stub answers");
            if byte != *b"+" {
                packet.push(byte[0]);
            }
        }
        self.0.write_all(b"+").unwrap();
        let text = String::from_utf8(packet).unwrap();
        let (_, data) = text.split_once('$').expect("a packet");
        data[..data.len() - 3].to_owned()
    }
}
