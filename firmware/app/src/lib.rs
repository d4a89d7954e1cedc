//! The device application over embedded-hal.
#![no_std]
