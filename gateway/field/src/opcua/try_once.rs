//! Reads each point of a connection once.

use std::sync::Arc;

use opcua::types::{DataValue, ReadValueId, StatusCode, TimestampsToReturn};
use tokio::time::Instant;

use super::{session, value};
use crate::{
    Fault,
    check::Answer,
    mapping::{Connection, Place, Point, Protocol, Target},
    port::{Quality, now_us},
};

/// How many are read in one request.
const CHUNK: usize = 50;

/// One answer a point, in the order of the mapping.
pub(crate) async fn try_all(connection: &Connection) -> Vec<Answer> {
    let mut points: Vec<(&Point, &Place)> = Vec::new();
    for point in connection.devices.iter().flat_map(|device| &device.points) {
        if let Target::OpcUa(place) = &point.target {
            points.push((point, place));
        }
    }
    let mut answers = Vec::with_capacity(points.len());
    let failed = read_all(connection, &points, &mut answers).await.err();
    // What was not asked any more has the reason in its place.
    let fault = failed.unwrap_or(Fault::Closed);
    answers.resize_with(points.len(), || Answer {
        value: Err(fault.clone()),
        took: None,
    });
    answers
}

async fn read_all(
    connection: &Connection,
    points: &[(&Point, &Place)],
    answers: &mut Vec<Answer>,
) -> Result<(), Fault> {
    let Protocol::OpcUa(server) = &connection.protocol else {
        return Err(Fault::Closed);
    };
    let mut opened = session::open(server, connection.timeout).await?;
    session::connected(server, &mut opened).await?;
    let refused = opened.refused.clone();
    let session = Arc::clone(&opened.session);
    let reading = async {
        for chunk in points.chunks(CHUNK) {
            let nodes: Vec<ReadValueId> = chunk
                .iter()
                .map(|(_, place)| ReadValueId::from(place.node.clone()))
                .collect();
            let begun = Instant::now();
            let read = session.read(&nodes, TimestampsToReturn::Both, 0.0).await;
            let took = begun.elapsed();
            let values = read.map_err(|error| error.status())?;
            for ((point, place), data) in chunk.iter().zip(values) {
                answers.push(Answer {
                    value: answer(point, place, &data),
                    took: Some(took),
                });
            }
        }
        Ok::<(), StatusCode>(())
    };
    let read = session::while_driven(&mut opened.events, reading).await;
    opened.leave().await;
    match read {
        Some(Ok(())) => Ok(()),
        Some(Err(StatusCode::BadTimeout)) => Err(Fault::Timeout {
            ms: u64::try_from(connection.timeout.as_millis()).unwrap_or(u64::MAX),
        }),
        Some(Err(status)) => Err(session::fault(server, status, &refused)),
        None => Err(Fault::Closed),
    }
}

fn answer(
    point: &Point,
    place: &Place,
    data: &DataValue,
) -> Result<stencil_protocol::sample::OwnedValue, Fault> {
    let given = value::given(data, point, place, now_us());
    match given.quality {
        // It is sent, and marked; who looks whether a mapping is right has to see it.
        Quality::Uncertain(why) if given.value.is_ok() => Err(Fault::Uncertain(why)),
        _ => given.value,
    }
}
