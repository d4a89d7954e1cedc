//! The built-in content store.

use serde_json::{Map, Value, json};
use stencil_store::{Content, EntryVersion};
use stencil_workflow::{Failure, Performed, Request};

use crate::connectors::store_failed;

pub(crate) async fn upsert(
    content: &dyn Content,
    request: &Request<'_>,
    collection: &str,
    key: &str,
    fields: &Map<String, Value>,
) -> Result<Performed, Failure> {
    let (effect_key, now_us) = (Some(request.effect_key), request.now_us);
    let written = content
        .upsert(request.tenant, collection, key, fields, effect_key, now_us)
        .await;
    written
        .map(|written| output(&written.version))
        .map_err(|error| store_failed(&error))
}

pub(crate) async fn publish(
    content: &dyn Content,
    request: &Request<'_>,
    collection: &str,
    key: &str,
) -> Result<Performed, Failure> {
    let (effect_key, now_us) = (Some(request.effect_key), request.now_us);
    let written = content
        .publish(request.tenant, collection, key, effect_key, now_us)
        .await;
    written
        .map(|written| output(&written.version))
        .map_err(|error| store_failed(&error))
}

fn output(version: &EntryVersion) -> Performed {
    let EntryVersion {
        collection,
        key,
        version,
        ..
    } = version;
    Performed::Done(json!({ "collection": collection, "key": key, "version": version }))
}
