//! What a commit changes of roll-outs.

use sqlx::SqliteConnection;

use crate::sqlite::bulk::Bulk;
use crate::sqlite::pipeline::last_of_each;
use crate::sqlite::row::bigint;
use crate::{Error, RolloutChange};

static DEVICES: Bulk = Bulk::new(
    "INSERT INTO rollout_devices \
     (tenant, rollout, device, gateway, phase, percent, detail, since_us, body)",
    9,
    "ON CONFLICT (tenant, rollout, device) DO UPDATE SET gateway = excluded.gateway, \
     phase = excluded.phase, percent = excluded.percent, detail = excluded.detail, \
     since_us = excluded.since_us, body = excluded.body",
);

static IMAGES: Bulk = Bulk::new(
    "INSERT INTO device_images \
     (tenant, device, gateway, digest, sequence, class, version, trial, reported_us)",
    9,
    "ON CONFLICT (tenant, device) DO UPDATE SET gateway = excluded.gateway, \
     digest = excluded.digest, sequence = excluded.sequence, class = excluded.class, \
     version = excluded.version, trial = excluded.trial, reported_us = excluded.reported_us",
);

static VERDICTS: Bulk = Bulk::new(
    "INSERT INTO device_verdicts (tenant, device, digest, reason, reported_us)",
    5,
    "ON CONFLICT (tenant, device) DO UPDATE SET digest = excluded.digest, \
     reason = excluded.reason, reported_us = excluded.reported_us",
);

/// Stores all of it; `position` is the commit's.
pub(in crate::sqlite) async fn apply(
    connection: &mut SqliteConnection,
    position: u64,
    change: &RolloutChange,
) -> Result<(), Error> {
    for head in &change.heads {
        sqlx::query(
            "UPDATE rollouts SET status = $1, is_over = $2, head = $3, changed_us = $4 \
             WHERE tenant = $5 AND rollout = $6",
        )
        .bind(head.status.as_str())
        .bind(i64::from(head.is_over))
        .bind(head.head.as_str())
        .bind(head.changed_us)
        .bind(head.tenant.as_str())
        .bind(head.id.to_vec())
        .execute(&mut *connection)
        .await?;
    }
    let devices = last_of_each(&change.devices, |(tenant, id, row)| {
        (tenant, id, &row.device)
    });
    DEVICES
        .execute(connection, &devices, |query, (tenant, id, row)| {
            query
                .bind(tenant.as_str().to_owned())
                .bind(id.to_vec())
                .bind(row.device.as_str().to_owned())
                .bind(
                    row.gateway
                        .as_ref()
                        .map(|gateway| gateway.as_str().to_owned()),
                )
                .bind(row.phase.clone())
                .bind(row.percent.map(i64::from))
                .bind(row.detail.clone())
                .bind(row.since_us)
                .bind(row.body.clone())
        })
        .await?;
    let mut images = Vec::new();
    for (tenant, image) in last_of_each(&change.images, |(tenant, image)| (tenant, &image.device)) {
        images.push((tenant, image, bigint("sequence", image.sequence)?));
    }
    IMAGES
        .execute(connection, &images, |query, (tenant, image, sequence)| {
            query
                .bind(tenant.as_str().to_owned())
                .bind(image.device.as_str().to_owned())
                .bind(
                    image
                        .gateway
                        .as_ref()
                        .map(|gateway| gateway.as_str().to_owned()),
                )
                .bind(image.digest.to_vec())
                .bind(*sequence)
                .bind(image.class.clone())
                .bind(image.version.clone())
                .bind(i64::from(image.trial))
                .bind(image.reported_us)
        })
        .await?;
    let verdicts = last_of_each(&change.verdicts, |(tenant, verdict)| {
        (tenant, &verdict.device)
    });
    VERDICTS
        .execute(connection, &verdicts, |query, (tenant, verdict)| {
            query
                .bind(tenant.as_str().to_owned())
                .bind(verdict.device.as_str().to_owned())
                .bind(verdict.digest.to_vec())
                .bind(verdict.reason.clone())
                .bind(verdict.reported_us)
        })
        .await?;
    for (ordinal, (tenant, id, notice)) in (0_i64..).zip(&change.notices) {
        sqlx::query(
            "INSERT INTO rollout_notices (tenant, rollout, position, ordinal, at_us, body) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(id.to_vec())
        .bind(bigint("position", position)?)
        .bind(ordinal)
        .bind(notice.at_us)
        .bind(notice.body.as_str())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
