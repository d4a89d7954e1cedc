//! Rows of seals and of what they are over.

use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::{Boot, Seq};

use super::super::row::Columns as _;
use crate::Error;
use crate::proofs::{NewSeal, SealKey, SealState, SealedBatch, StoredSeal};

pub(super) fn key(row: &SqliteRow) -> Result<SealKey, Error> {
    Ok(SealKey {
        tenant: row.parsed("tenant")?,
        gateway: row.parsed("gateway")?,
        epoch: u64::from_be_bytes(row.array("epoch")?),
        number: row.number("number")?,
    })
}

pub(super) fn seal(row: &SqliteRow) -> Result<StoredSeal, Error> {
    let state = row.text("state")?;
    let anchor = row.maybe_number("anchor")?;
    Ok(StoredSeal {
        seal: NewSeal {
            key: key(row)?,
            hash: row.array("hash")?,
            record: row.bytes("record")?,
            received_us: row.int("received_us")?,
        },
        state: SealState::parse(&state).ok_or_else(|| Error::corrupt("state", state))?,
        why: row.maybe_text("why")?,
        anchor: anchor.zip(row.maybe_number("leaf")?),
    })
}

pub(super) fn batch(row: &SqliteRow) -> Result<SealedBatch, Error> {
    Ok(SealedBatch {
        tenant: row.parsed("tenant")?,
        device: row.parsed("device")?,
        boot: Boot(row.number("boot")?),
        first: Seq(row.number("first")?),
        last: Seq(row.number("last")?),
        from_us: row.int("from_us")?,
        to_us: row.int("to_us")?,
        received_us: row.int("received_us")?,
        position: row.number("position")?,
        body: row.bytes("body")?.into(),
    })
}
