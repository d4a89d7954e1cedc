//! Asks each point of a connection once.

use tokio::time::Instant;

use super::{
    bus::Bus,
    plan::span,
    poll::{MAX_SPAN, value},
};
use crate::{
    Fault, Of,
    check::Answer,
    mapping::{Connection, Device, Link, Target},
};

/// One answer a point, in the order of the mapping.
pub(crate) async fn try_all(connection: &Connection) -> Vec<Answer> {
    let mut bus = Bus::new(connection);
    let mut answers = Vec::new();
    // What holds for the whole connection, once it is known.
    let mut unreachable: Option<Fault> = None;
    for device in &connection.devices {
        let mut silent = unreachable.clone();
        for index in 0..device.points.len() {
            let answer = match &silent {
                Some(fault) => Answer {
                    value: Err(fault.clone()),
                    took: None,
                },
                None => one(&mut bus, device, index, connection.retries).await,
            };
            if let (None, Err(fault)) = (&silent, &answer.value) {
                match fault.of() {
                    Of::Connection => {
                        unreachable = Some(fault.clone());
                        silent = unreachable.clone();
                    }
                    Of::Device => silent = Some(fault.clone()),
                    Of::Point => {}
                }
            }
            answers.push(answer);
        }
    }
    answers
}

async fn one(bus: &mut Bus, device: &Device, index: usize, retries: u32) -> Answer {
    let point = device.points.get(index);
    let (Link::Modbus(unit), Some(point)) = (&device.link, point) else {
        return Answer {
            value: Err(Fault::Closed),
            took: None,
        };
    };
    let Target::Modbus(address) = point.target else {
        return Answer {
            value: Err(Fault::Closed),
            took: None,
        };
    };
    let (first, last) = span(device, index);
    let count = last.saturating_sub(first).saturating_add(1).min(MAX_SPAN);
    let mut tried = 0;
    loop {
        let begun = Instant::now();
        let read = bus.read(unit.number, address.table, first, count).await;
        let is_last = tried >= retries;
        match read {
            Err(Fault::Timeout { .. } | Fault::Nonsense(_) | Fault::Closed) if !is_last => {
                tried += 1;
            }
            read => {
                return Answer {
                    took: Some(begun.elapsed()),
                    value: read.and_then(|answer| value(point, first, &answer)),
                };
            }
        }
    }
}
