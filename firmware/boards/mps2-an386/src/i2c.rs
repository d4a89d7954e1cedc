//! The sensor's bus: I²C over two lines that software drives.
//!
//! Standard mode, one controller, no clock stretching (a TMP105 never does): 100 kbit/s at most,
//! by the bus's minimum times (UM10204, table 11).

use embedded_hal::i2c::{
    ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation, SevenBitAddress,
};

use crate::CLOCK_HZ;
use crate::registers::sbcon::{CLEAR, SCL, SDA, SET};

/// Half a bit: 5 µs.
const HALF_BIT_CYCLES: u32 = CLOCK_HZ / 200_000;

/// The controller.
pub(crate) struct Bus(());

impl Bus {
    /// Lets go of both lines, and frees a target that a reset left in the middle of a byte: nine
    /// clocks, then a stop (UM10204, 3.1.16).
    pub(crate) fn new() -> Self {
        SET.write(SCL | SDA);
        for _ in 0..9 {
            low(SCL);
            high(SCL);
        }
        low(SCL);
        low(SDA);
        high(SCL);
        high(SDA);
        Self(())
    }
}

fn high(line: u32) {
    SET.write(line);
    cortex_m::asm::delay(HALF_BIT_CYCLES);
}

fn low(line: u32) {
    CLEAR.write(line);
    cortex_m::asm::delay(HALF_BIT_CYCLES);
}

/// Also a repeated one: both lines are high, or SCL is low.
fn start() {
    high(SDA);
    high(SCL);
    low(SDA);
    low(SCL);
}

fn stop() {
    low(SDA);
    high(SCL);
    high(SDA);
}

fn send_bit(bit: bool) {
    if bit {
        SET.write(SDA)
    } else {
        CLEAR.write(SDA)
    }
    high(SCL);
    low(SCL);
}

fn read_bit() -> bool {
    SET.write(SDA);
    high(SCL);
    let bit = SET.read() & SDA != 0;
    low(SCL);
    bit
}

/// Sends a byte; whether it was acknowledged.
fn send(byte: u8) -> bool {
    for bit in (0..8).rev() {
        send_bit(byte >> bit & 1 == 1);
    }
    !read_bit()
}

fn receive(last: bool) -> u8 {
    let byte = (0..8).fold(0, |byte, _| byte << 1 | u8::from(read_bit()));
    send_bit(last);
    byte
}

fn address(address: u8, read: bool) -> Result<(), ErrorKind> {
    start();
    send(address << 1 | u8::from(read))
        .then_some(())
        .ok_or(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address))
}

impl ErrorType for Bus {
    type Error = ErrorKind;
}

impl I2c<SevenBitAddress> for Bus {
    fn transaction(
        &mut self,
        target: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), ErrorKind> {
        let done = transfer(target, operations);
        stop();
        done
    }
}

fn transfer(target: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
    // Adjacent operations of one kind are one transfer without a start between them.
    let mut reading = None;
    let count = operations.len();
    for index in 0..count {
        let joined = matches!(operations.get(index + 1), Some(Operation::Read(_)));
        match &mut operations[index] {
            Operation::Write(bytes) => {
                if reading.replace(false) != Some(false) {
                    address(target, false)?;
                }
                for byte in *bytes {
                    if !send(*byte) {
                        return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data));
                    }
                }
            }
            Operation::Read(bytes) => {
                if reading.replace(true) != Some(true) {
                    address(target, true)?;
                }
                let length = bytes.len();
                for (at, byte) in bytes.iter_mut().enumerate() {
                    *byte = receive(at + 1 == length && !joined);
                }
            }
        }
    }
    Ok(())
}
