//! What a firing is called, what it starts, and what that does: derived from the cause alone.

use sha2::{Digest, Sha256};
use stencil_protocol::id::{CommandId, DeviceId, TenantId};
use stencil_rules::Cause;

/// The id of the run that a cause starts: SHA-256 over tenant, workflow, version, device and
/// cause, each with its length. `name` is the name of the samples that the rule looks at.
pub fn run_id(
    tenant: &TenantId,
    workflow: &str,
    version: u32,
    name: Option<&str>,
    device: &DeviceId,
    cause: Cause,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    part(&mut hash, b"stencil run 1");
    part(&mut hash, tenant.as_str().as_bytes());
    part(&mut hash, workflow.as_bytes());
    part(&mut hash, &version.to_be_bytes());
    part(&mut hash, device.as_str().as_bytes());
    match cause {
        Cause::Numbered { boot, seq } => {
            part(&mut hash, b"numbered");
            part(&mut hash, &boot.0.to_be_bytes());
            part(&mut hash, &seq.0.to_be_bytes());
        }
        Cause::Timed { time_us } => {
            part(&mut hash, b"timed");
            part(&mut hash, name.unwrap_or_default().as_bytes());
            part(&mut hash, &time_us.to_be_bytes());
        }
        Cause::Silence { since_us } => {
            part(&mut hash, b"silence");
            part(&mut hash, &since_us.to_be_bytes());
        }
        Cause::Window { end_us } => {
            part(&mut hash, b"window");
            part(&mut hash, &end_us.to_be_bytes());
        }
    }
    hash.finalize().into()
}

/// The key of a step's effect in a run: hexadecimal SHA-256 over both.
pub fn effect_key(run: &[u8; 32], step: &str) -> String {
    let mut hash = Sha256::new();
    part(&mut hash, b"stencil effect 1");
    part(&mut hash, run);
    part(&mut hash, step.as_bytes());
    hex::encode(hash.finalize())
}

/// The command of an effect: the first half of its key's SHA-256. The same effect is the same
/// command, on which a device acts once.
pub fn command_id(effect_key: &str) -> CommandId {
    let hash: [u8; 32] = Sha256::digest(effect_key.as_bytes()).into();
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    CommandId(id)
}

fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

#[cfg(test)]
mod tests {
    use stencil_protocol::id::{Boot, Seq};

    use super::*;

    /// Written down once: who derives another name starts again what was started before.
    #[test]
    fn names_never_change() {
        let tenant = TenantId::parse("acme").unwrap();
        let device = DeviceId::parse("freezer-07").unwrap();
        let cause = Cause::Numbered {
            boot: Boot(3),
            seq: Seq(41),
        };
        let run = run_id(&tenant, "door", 2, Some("open"), &device, cause);
        let key = effect_key(&run, "lock");
        assert_eq!(
            (hex::encode(run), key.clone(), command_id(&key).to_string()),
            (RUN.to_owned(), KEY.to_owned(), COMMAND.to_owned())
        );
        let silence = Cause::Silence { since_us: 41 };
        assert_ne!(run_id(&tenant, "door", 2, None, &device, silence), run);
        assert_ne!(
            run_id(&tenant, "door", 3, Some("open"), &device, cause),
            run
        );
    }

    const RUN: &str = "e90232c902b88ad9a0a1869c9921b0675f9c11e946c4ead2e1140ea4c07a2bdc";
    const KEY: &str = "55728386647aec205d56e3a5fba413268e0aa344fdce539a65756cf77f7ac459";
    const COMMAND: &str = "42261b2be0e70cf6f16520057eab43d1";
}
