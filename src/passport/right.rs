//! `stencil passport issue-right`.

use std::process::ExitCode;

use alloy_primitives::{Address, B256, U256};
use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use stencil_chain::single::{Call, Endpoint};
use stencil_ownership::issue::Right;
use stencil_ownership::token_of;

use super::errand::{Errand, answered, sent_lines};
use super::{text, time};
use crate::chain::sending::{self, Sending, account};
use crate::output::Format;
use crate::when::{self, Until};

/// Issues a right to use a device until a time.
///
///   stencil passport issue-right --contract 0x… --user 0x… \
///       --did did:web:hub.example:tenants:acme:devices:locker-7 \
///       --until 2027-01-31T18:00:00Z --chain-id 137 --rpc https://… \
///       --keystore issuer.json --password-file issuer.password
///
/// It calls `issue` of `AccessRight` with an issuer's key: the administrator's, which
/// `stencil chain deploy access-right` was told, or that of an account which the administrator
/// has made an issuer. The user may give the device the commands that the tenant lets users give
/// (`stencil passport policy set --user-may …`), up to and with the last second. Nobody takes a
/// right back, and it goes on when the device is sold.
///
/// What the contract would refuse is said before anything is sent; --dry-run sends nothing at
/// all. The user may command when the block is final by the chain's policy.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct IssueRight {
    /// The contract of rights, whose address `stencil chain deploy access-right` has told.
    #[arg(long, value_name = "0x…")]
    contract: String,
    /// Who uses the device: an account whose key somebody has.
    #[arg(long, value_name = "0x…")]
    user: String,
    #[command(flatten)]
    which: Which,
    /// The last second at which it is used: 2027-01-31T18:00:00Z; a date alone is that whole day in UTC. At most
    /// 3,660 days from now.
    #[arg(long, value_name = "TIME")]
    until: Until,
    #[command(flatten)]
    sending: Sending,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The token of the device's passport: a whole number, or 32 bytes as 0x….
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    passport: Option<B256>,
    /// In its place the device's DID, of which that is the hash (`stencil device show` tells it).
    #[arg(long)]
    did: Option<String>,
}

/// Runs it.
pub(super) async fn run(args: IssueRight, format: Format) -> anyhow::Result<ExitCode> {
    let contract: Address = account("--contract", &args.contract)?.into();
    let user: Address = account("--user", &args.user)?.into();
    let passport = args.which.token()?;
    let until_us = args.until.us(when::now_us()).map_err(|why| anyhow!(why))?;
    // The last second, with which a date alone ends a moment before the next day.
    let ends = u64::try_from((until_us - i64::from(args.until.is_date())) / 1_000_000)
        .map_err(|_| anyhow!("--until is before 1970: a right ends after now"))?;
    let right = Right::new(user, passport, ends)?;
    let signer = args.sending.signer().await?;
    let errand = Errand {
        endpoint: Endpoint::new(args.sending.options()?)?,
        contract,
        call: Call::To(contract, right.call()),
    };
    let plan = errand.plan("AccessRight", &signer).await?;
    let mut answer = args.sending.planned(&plan);
    answer["contract"] = json!(contract.to_checksum(None));
    answer["token"] = Value::Null;
    answer["passport"] = json!(passport.to_string());
    answer["user"] = json!(user.to_checksum(None));
    answer["ends_s"] = json!(ends);
    answer["issued"] = Value::Null;
    if !args.sending.dry_run {
        let sent = errand.send(&plan, &signer).await?;
        let number = right.issued(contract, &sent.logs);
        let number = number.ok_or_else(|| errand.silent(&sent, "AccessRight"))?;
        answer["token"] = json!(number.to_string());
        answer["issued"] = sending::sent(&sent);
    }
    answered(format, &answer, right_text)?;
    Ok(ExitCode::SUCCESS)
}

impl Which {
    fn token(&self) -> anyhow::Result<B256> {
        match (&self.passport, &self.did) {
            (Some(passport), _) => Ok(*passport),
            (None, did) => token_of(did.as_deref().unwrap_or_default()).context(
                "--did is no DID that a passport is of, which begins with `did:` and has 5 to 2048 bytes",
            ),
        }
    }
}

/// A token's id: a whole number of up to 256 bits, or 32 bytes as `0x…`.
fn token(text: &str) -> Result<B256, String> {
    let right = || "a whole number of up to 256 bits, or 0x and 64 hexadecimal digits".to_owned();
    if text.starts_with("0x") {
        return text.parse().map_err(|_| right());
    }
    if text.is_empty() || !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(right());
    }
    let number = U256::from_str_radix(text, 10).map_err(|_| right())?;
    Ok(number.into())
}

fn right_text(answer: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(token) = answer["token"].as_str() {
        lines.push(format!("right        {token}"));
    }
    lines.push(format!("passport     {}", text(answer, "passport")));
    lines.push(format!("user         {}", text(answer, "user")));
    lines.push(format!("until        {}", time(&answer["ends_s"])));
    lines.extend(sent_lines(answer));
    if !answer["issued"].is_null() {
        lines.push("its user may command when the block is final".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_number_or_32_bytes() {
        let one = B256::from(U256::from(1));
        assert_eq!(token("1"), Ok(one));
        assert_eq!(token(&one.to_string()), Ok(one));
        let most = U256::MAX.to_string();
        assert_eq!(token(&most), Ok(B256::repeat_byte(0xff)));
        for wrong in ["", "-1", "0x1", "1.0", "locker-7", &format!("{most}0")] {
            let why = token(wrong).unwrap_err();
            assert!(why.contains("up to 256 bits"), "{wrong}: {why}");
        }
    }
}
