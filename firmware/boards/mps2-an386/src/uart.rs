//! UART 0: the byte link to the gateway.
//!
//! The hardware holds one byte in each direction. Interrupts carry bytes between it and two
//! rings, so that none is lost while the main loop computes a handshake (half a second, in which
//! 115,200 baud bring 5,760 bytes; the protocol never sends more than an answer and a record
//! then). When the ring is full nevertheless, the byte stays in the hardware and its interrupt
//! is off until there is room; what the line loses then is counted.

use core::cell::{Cell, RefCell};
use core::convert::Infallible;

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use critical_section::{CriticalSection, Mutex};
use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};
use heapless::Deque;

use crate::CLOCK_HZ;
use crate::registers::uart::{
    BAUD_DIVIDER, CONTROL, DATA, INTERRUPT_CLEAR, RX_ENABLE, RX_FULL, RX_INTERRUPT, RX_OVERRUN,
    STATE, TX_ENABLE, TX_FULL, TX_INTERRUPT,
};
use crate::timer::Wanted;

const BAUD: u32 = 115_200;
/// An answer to a handshake and the gateway's time fit.
const RECEIVED_BYTES: usize = 1_280;
const SENDING_BYTES: usize = 128;

static RECEIVED: Mutex<RefCell<Deque<u8, RECEIVED_BYTES>>> = Mutex::new(RefCell::new(Deque::new()));
static SENDING: Mutex<RefCell<Deque<u8, SENDING_BYTES>>> = Mutex::new(RefCell::new(Deque::new()));
/// Bytes that came while the hardware held another.
static OVERRUNS: Mutex<Cell<u32>> = Mutex::new(Cell::new(0));

/// Interrupt lines of this machine that are used.
#[derive(Clone, Copy)]
#[repr(u16)]
pub(crate) enum Line {
    Receive = 0,
    Transmit = 1,
    Alarm = 9,
}

// SAFETY: the numbers are lines of this machine's interrupt controller.
#[allow(unsafe_code)]
unsafe impl InterruptNumber for Line {
    fn number(self) -> u16 {
        self as u16
    }
}

/// Lets a line interrupt.
pub(crate) fn unmask(line: Line) {
    // SAFETY: no code relies on the line being masked; what handlers share is in Mutexes.
    #[allow(unsafe_code)]
    unsafe {
        NVIC::unmask(line);
    }
}

/// The link.
pub(crate) struct Uart(());

impl Uart {
    /// Sets the line up: 115,200 baud, 8N1.
    pub(crate) fn start() -> Self {
        BAUD_DIVIDER.write(CLOCK_HZ / BAUD);
        CONTROL.write(TX_ENABLE | RX_ENABLE | TX_INTERRUPT | RX_INTERRUPT);
        unmask(Line::Receive);
        unmask(Line::Transmit);
        Self(())
    }
}

/// A poll of the application costs a thousand instructions: it is worth it for so many bytes.
const WORTH_BYTES: usize = 64;

/// Whether the main loop should read, or write if it has what to write.
pub(crate) fn wanted(writes: bool) -> Wanted {
    critical_section::with(|cs| {
        let received = RECEIVED.borrow_ref(cs).len();
        if received >= WORTH_BYTES
            || writes && SENDING.borrow_ref(cs).len() + WORTH_BYTES <= SENDING_BYTES
        {
            Wanted::Now
        } else if received > 0 {
            Wanted::Soon
        } else {
            Wanted::Sleep
        }
    })
}

/// Whether the hardware has taken all that was written.
pub(crate) fn has_sent_all() -> bool {
    critical_section::with(|cs| SENDING.borrow_ref(cs).is_empty()) && STATE.read() & TX_FULL == 0
}

fn has_received() -> bool {
    critical_section::with(|cs| !RECEIVED.borrow_ref(cs).is_empty()) || STATE.read() & RX_FULL != 0
}

fn has_room() -> bool {
    critical_section::with(|cs| !SENDING.borrow_ref(cs).is_full())
}

/// Bytes that the line lost, for the meter.
pub(crate) fn overruns() -> u32 {
    critical_section::with(|cs| OVERRUNS.borrow(cs).get())
}

/// A byte has come.
pub(crate) fn receive() {
    INTERRUPT_CLEAR.write(RX_INTERRUPT_STATUS);
    critical_section::with(take);
}

/// The hardware takes a byte.
pub(crate) fn transmit() {
    INTERRUPT_CLEAR.write(TX_INTERRUPT_STATUS);
    critical_section::with(give);
}

const TX_INTERRUPT_STATUS: u32 = 1;
const RX_INTERRUPT_STATUS: u32 = 1 << 1;

/// From the hardware to the ring.
fn take(cs: CriticalSection<'_>) {
    let mut received = RECEIVED.borrow_ref_mut(cs);
    let state = STATE.read();
    if state & RX_OVERRUN != 0 {
        STATE.write(RX_OVERRUN);
        let count = OVERRUNS.borrow(cs);
        count.set(count.get().saturating_add(1));
    }
    while STATE.read() & RX_FULL != 0 {
        if received.is_full() {
            CONTROL.write(CONTROL.read() & !RX_INTERRUPT);
            return;
        }
        #[allow(clippy::cast_possible_truncation, reason = "the register holds a byte")]
        let _ = received.push_back(DATA.read() as u8);
    }
}

/// From the ring to the hardware.
fn give(cs: CriticalSection<'_>) {
    let mut sending = SENDING.borrow_ref_mut(cs);
    while STATE.read() & TX_FULL == 0 {
        let Some(byte) = sending.pop_front() else {
            return;
        };
        DATA.write(u32::from(byte));
    }
}

impl ErrorType for Uart {
    type Error = Infallible;
}

impl ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(has_received())
    }
}

impl Read for Uart {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            // A chunk at a time, so that interrupts wait for no more than that.
            let read = critical_section::with(|cs| {
                let mut received = RECEIVED.borrow_ref_mut(cs);
                let mut read = 0;
                for slot in out.iter_mut().take(CHUNK_BYTES) {
                    let Some(byte) = received.pop_front() else {
                        break;
                    };
                    *slot = byte;
                    read += 1;
                }
                drop(received);
                if CONTROL.read() & RX_INTERRUPT == 0 || read == 0 {
                    CONTROL.write(CONTROL.read() | RX_INTERRUPT);
                    take(cs);
                }
                read
            });
            if read > 0 {
                return Ok(read);
            }
        }
    }
}

/// The most bytes that are moved with interrupts masked: well within the 87 µs of a byte.
const CHUNK_BYTES: usize = 32;

impl WriteReady for Uart {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(has_room())
    }
}

impl Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        if bytes.is_empty() {
            return Ok(0);
        }
        loop {
            let written = critical_section::with(|cs| {
                let mut sending = SENDING.borrow_ref_mut(cs);
                let mut written = 0;
                for byte in bytes.iter().take(CHUNK_BYTES) {
                    if sending.push_back(*byte).is_err() {
                        break;
                    }
                    written += 1;
                }
                drop(sending);
                give(cs);
                written
            });
            if written > 0 {
                return Ok(written);
            }
        }
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        while critical_section::with(|cs| !SENDING.borrow_ref(cs).is_empty()) {
            critical_section::with(give);
        }
        Ok(())
    }
}
