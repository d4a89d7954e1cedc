//! Records of seals as a gateway sends them: each seed of the fuzz target, and what chance makes of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod holds;

use proptest::prelude::*;
use stencil_proof::{Chunk, Hash, Open, Record, Seal, Sealed, Secret, tree};
use stencil_protocol::id::{Boot, DeviceId, GatewayId, Seq, TenantId};
use stencil_protocol::sample::{Sample, Value};

const SEEDS: [(&str, &[u8]); 4] = [
    (
        "begins",
        include_bytes!("../../../../fuzz/seeds/seal/begins"),
    ),
    ("ends", include_bytes!("../../../../fuzz/seeds/seal/ends")),
    (
        "sealed",
        include_bytes!("../../../../fuzz/seeds/seal/sealed"),
    ),
    ("plain", include_bytes!("../../../../fuzz/seeds/seal/plain")),
];

/// Two chunks, one of which has readings twice.
fn sealed() -> Sealed {
    let secret = Secret::new([3; 32]);
    let chunk = |device: &str, numbers: &[(u32, u64)]| {
        let mut open = Open::new(DeviceId::parse(device).unwrap(), &secret);
        for (boot, seq) in numbers {
            let sample = Sample {
                name: "temperature",
                value: Value::Number(-18.5),
                unit: Some("degC"),
                time_us: 1_700_000_000_000_000,
            };
            open.take(Boot(*boot), Seq(*seq), &sample);
        }
        open.close()
    };
    let chunks = vec![
        chunk("freezer-1", &[(7, 1), (7, 2), (7, 2), (9, 1)]),
        chunk("freezer-2", &[(1, 300), (1, 301)]),
    ];
    let leaves: Vec<Hash> = chunks.iter().map(Chunk::leaf).collect();
    Sealed {
        seal: Seal {
            tenant: TenantId::parse("acme").unwrap(),
            gateway: GatewayId::parse("gw-1").unwrap(),
            epoch: 11,
            number: 3,
            previous: [9; 32],
            at_us: 1_700_000_060_000_000,
            certificate: [4; 32],
            chunks: 2,
            root: tree::root(&leaves),
        },
        signature: vec![5; 3_309],
        chunks,
        secret: Some(secret),
    }
}

#[test]
fn each_seed_is_a_record() {
    let records = [
        Record::Begins {
            epoch: 11,
            certificate: vec![0x30; 64],
        },
        Record::Ends { epoch: 11 },
        Record::Sealed(Box::new(sealed())),
        // As gateways sent them that did not know of salts.
        Record::Sealed(Box::new(Sealed {
            secret: None,
            ..sealed()
        })),
    ];
    for ((name, seed), record) in SEEDS.into_iter().zip(records) {
        if std::env::var_os("STENCIL_UPDATE_VECTORS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/seal");
            std::fs::write(format!("{path}/{name}"), record.encode()).unwrap();
            continue;
        }
        assert_eq!(Record::decode(seed).unwrap(), record, "{name}");
        holds::of_a_record(seed);
    }
}

/// A seed of which a part was cut out or replaced.
fn changed() -> impl Strategy<Value = Vec<u8>> {
    let at = || any::<prop::sample::Index>();
    let part = prop::collection::vec(any::<u8>(), 0..12);
    (0..SEEDS.len(), at(), at(), part).prop_map(|(seed, from, length, part)| {
        let mut bytes = SEEDS[seed].1.to_vec();
        let from = from.index(bytes.len());
        let to = from + length.index((bytes.len() - from).min(12) + 1);
        bytes.splice(from..to, part);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_changed_seed_is_read_or_refused(bytes in changed()) {
        holds::of_a_record(&bytes);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        holds::of_a_record(&bytes);
    }
}
