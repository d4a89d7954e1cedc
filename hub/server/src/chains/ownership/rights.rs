//! Which rights an account holds: to use which device, until when, and whether that is final.

use stencil_ownership::holder::Gain;
use stencil_payments::Address;
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_store::TokenKey;

use super::{MAX_SHOWN, Owners, Refused, kept};

/// A right of an account's to use a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldRight {
    /// The device, of the tenant that was asked about.
    pub(crate) device: DeviceId,
    /// The right's id in the tenant's contract of rights.
    pub(crate) token: TokenKey,
    /// The last second in which it may be used, since 1970. That it is over is no event: who keeps this
    /// compares it with a clock.
    pub(crate) expires_s: u64,
    /// Whether the block that says so is final by the chain's policy. If not, the right may be taken back
    /// by a reorganisation: nothing that can't be undone should be done for it.
    pub(crate) is_final: bool,
}

/// What is known of an account's rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldRights {
    /// Those that are not over, the one that ends last first.
    pub(crate) rights: Vec<HeldRight>,
    /// Which commands they let their user give, `*` for every one, by the tenant's policy of now.
    pub(crate) user_may: Vec<String>,
    /// The timestamp of the newest block that was read, in seconds since 1970; 0: none was.
    pub(crate) read_s: u64,
    /// Whether that is new enough by the tenant's policy. If not, any of these rights may be somebody
    /// else's by now.
    pub(crate) is_fresh: bool,
}

impl Owners {
    /// Which rights an account holds to use devices of a tenant, at most 200; of those that are over, and
    /// of passports that no device has, nothing. Who owns a passport has no right by that.
    ///
    /// Whoever acts on this later asks again: rights are lent to others, sold and reorganised away.
    ///
    /// # Errors
    /// [`Refused::NoPassport`]: the tenant lets no tokens control its devices.
    pub(crate) async fn rights_of(
        &self,
        tenant: &TenantId,
        account: Address,
    ) -> Result<HeldRights, Refused> {
        let settings = self.settings(tenant).await?.ok_or(Refused::NoPassport)?;
        // Before the tokens: what they say is at least as new.
        let read_s = self.taken_s(&settings.chain).await?;
        let now_s = self.now_s();
        let mut rights = Vec::new();
        if let Some(collection) = settings.access_rights() {
            let port = &self.store.ownership;
            let held = port
                .rights_of(
                    tenant,
                    &settings.chain,
                    &collection.0,
                    &account.0,
                    now_s,
                    MAX_SHOWN,
                )
                .await?;
            for (device, held) in held {
                let token = kept(&held)?;
                let user = token.user(Gain::Final);
                let user = user.filter(|user| user.account == account && now_s <= user.expires);
                rights.extend(user.map(|user| HeldRight {
                    device,
                    token: held.token,
                    expires_s: user.expires,
                    is_final: user.in_effect,
                }));
            }
        }
        Ok(HeldRights {
            rights,
            user_may: settings.user_may.iter().cloned().collect(),
            read_s,
            is_fresh: settings.policy().fresh(read_s, now_s).is_ok(),
        })
    }
}
