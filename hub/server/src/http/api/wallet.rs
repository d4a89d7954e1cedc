//! Signing in with a wallet (EIP-4361), and what a wallet's own sees.

use std::net::IpAddr;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use stencil_payments::Address;
use stencil_payments::invoice::{Id, Invoice, Method};
use stencil_protocol::id::TenantId;
use stencil_store::{AuditOutcome, NewNonce, Opener, Page, PaidInvoice, Role, WalletKey};

use super::invoices::wrong;
use crate::chains::view::{InvoiceView, PriceView};
use crate::chains::{At, settings};
use crate::http::access::{FOREIGN, WalletUser, shown, who};
use crate::http::input::{self, Paging, Query};
use crate::http::listener::Peer;
use crate::http::origin::Origin;
use crate::http::page::sign_in::{end_session, tell};
use crate::http::problem::{Kind, Problem};
use crate::http::throttle::{self, Subject};
use crate::http::{State, own_origin, session};
use crate::wallets::{Asked, Challenge, LIFE_US, NotSigned, Proved, verify};

/// Who wants to sign in.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ChallengeWanted {
    /// The account: `0x` and 40 hexadecimal digits.
    #[schema(min_length = 42, max_length = 42)]
    address: String,
    /// EIP-155 chain id of a chain that the hub follows; may be left out where it follows one alone. A
    /// contract wallet is asked on it, and is in what its role on that chain lets it.
    chain_id: Option<u64>,
    /// The tenant to sign in to, which the text names then. Without it: to none.
    tenant: Option<String>,
}

/// What to sign. A message of one's own may say the same in other times, with a request id and resources.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ChallengeGiven {
    /// The text to sign as it is (EIP-191, `personal_sign`).
    message: String,
    /// Its nonce, for one attempt.
    nonce: String,
    /// Who asks, as the message has to say it.
    domain: String,
    /// What is signed in to, as the message has to say it.
    uri: String,
    /// What is agreed to, as the message has to say it.
    statement: String,
    /// The chain, as the message has to say it.
    chain_id: u64,
    /// Until when it can be answered, µs since the epoch.
    expires_us: i64,
}

/// A message and its signature.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Answer {
    /// The text that was signed (EIP-4361).
    #[schema(min_length = 1, max_length = 4096)]
    message: String,
    /// The signature: `0x` and hexadecimal digits. 65 bytes r, s, v by a key, or what a contract wallet
    /// takes (EIP-1271).
    #[schema(min_length = 132, max_length = 8194)]
    signature: String,
}

/// A role.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct RoleIn {
    /// Where.
    #[schema(value_type = String)]
    pub(in crate::http) tenant: TenantId,
    /// Which.
    pub(in crate::http) role: Role,
}

/// Who has signed in. The session is in the cookie of the answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct SignedIn {
    /// The account, with its checksum (EIP-55).
    address: String,
    /// The tenant that was signed in to; null: none.
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantId>,
    /// What the account may do there; null: it is in no tenant.
    role: Option<Role>,
    /// All roles of the account.
    roles: Vec<RoleIn>,
    /// The session's id.
    session: String,
    /// When the session ends whatever happens, µs since the epoch.
    expires_us: i64,
    /// What should be otherwise in the message.
    warnings: Vec<String>,
}

/// Who is signed in with a wallet.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct WalletMe {
    /// The account, with its checksum (EIP-55).
    address: String,
    /// The tenant that was signed in to; null: none.
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantId>,
    /// What the account may do there; null: it is in no tenant.
    role: Option<Role>,
    /// All roles of the account.
    roles: Vec<RoleIn>,
    /// The session's id.
    session: String,
}

/// Something that the account has paid, or has signed a payment of.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct PaidView {
    /// The invoice's id: 32 hexadecimal digits.
    pub(in crate::http) invoice: String,
    /// Who is paid.
    #[schema(value_type = String)]
    pub(in crate::http) tenant: TenantId,
    /// The offer that was bought (x402); null: it is an invoice.
    pub(in crate::http) offer: Option<String>,
    /// What was bought, in a line.
    pub(in crate::http) title: Option<String>,
    /// Where it stands; null: no payment has come yet.
    pub(in crate::http) state: Option<String>,
    /// What it costs; null: no payment has come yet.
    pub(in crate::http) price: Option<PriceView>,
    /// When it was made, µs since the epoch.
    pub(in crate::http) created_us: i64,
    /// Its checkout, where refunds can be claimed; null: there is none yet.
    pub(in crate::http) checkout_url: Option<String>,
}

/// Begins to sign in with a wallet: what to sign.
///
/// What is given can be answered once, within 300 s. Nobody is signed in by this.
#[utoipa::path(
    post,
    path = "/api/v1/wallet/challenge",
    tag = "wallet",
    request_body = ChallengeWanted,
    responses(
        (status = 200, description = "What to sign", body = ChallengeGiven),
        (status = 403, description = "A page of somebody else asks"),
        (status = 409, description = "The hub follows no chain, so that no wallet can sign in"),
        (status = 429, description = "64 were asked for from your address within the last minute"),
    )
)]
pub(in crate::http) async fn challenge(
    Shared(state): Shared<State>,
    request: Request,
) -> Result<Json<ChallengeGiven>, Problem> {
    let (headers, address) = from(&request)?;
    let origin = own_origin::of(&state, &headers)?;
    let wanted: input::Json<ChallengeWanted> = input::json(request).await?;
    let asked = asked(&state, &wanted.0)?;
    let (challenge, nonce) = (Challenge::new(&asked, &origin), Challenge::nonce());
    let now_us = state.clock.now_us();
    let message = challenge.message(&nonce, now_us);
    let text = message
        .text()
        .map_err(|error| Problem::invalid(format!("no message can say this: {error}")))?;
    let (network, body) = (
        throttle::network(address).to_string(),
        serde_json::to_string(&challenge).map_err(Problem::internal)?,
    );
    let expires_us = now_us.saturating_add(LIFE_US);
    let given = NewNonce {
        nonce: &nonce,
        network: &network,
        body: &body,
        now_us,
        expires_us,
    };
    if let Some(free_us) = state.store.wallets.give_nonce(&given).await? {
        let why = "more were asked for than there is room for, from your address or in all";
        let wait = u64::try_from(free_us.saturating_sub(now_us)).unwrap_or(0);
        return Err(Problem::too_many(why, Duration::from_micros(wait)));
    }
    let Challenge {
        domain,
        uri,
        statement,
        chain_id,
        ..
    } = challenge;
    Ok(Json(ChallengeGiven {
        message: text,
        nonce,
        domain,
        uri,
        statement,
        chain_id,
        expires_us,
    }))
}

/// Signs in with a wallet: the answer's cookie is the session.
///
/// The message has to say what the challenge asked for. Its nonce is used up, whatever comes of it.
#[utoipa::path(
    post,
    path = "/api/v1/wallet/sign-in",
    tag = "wallet",
    request_body = Answer,
    responses(
        (status = 200, description = "Signed in", body = SignedIn),
        (status = 401, description = "The nonce can't be used, or something does not hold: `detail` \
            says what"),
        (status = 403, description = "The account has no role in the tenant (a contract wallet: none on \
            the chain that it has signed on), or a page of somebody else asks"),
        (status = 429, description = "It failed too often from your address: `retry-after` says when to try again"),
        (status = 503, description = "Whether a contract wallet has signed can't be known now"),
    )
)]
pub(in crate::http) async fn sign_in(
    Shared(state): Shared<State>,
    request: Request,
) -> Result<Response, Problem> {
    let (headers, address) = from(&request)?;
    let answer: input::Json<Answer> = input::json(request).await?;
    // By the network alone: no account can be guessed at, and nobody is to keep another's wallet out.
    let (subjects, now_us) = (Subject::of(None, address), state.clock.now_us());
    let begun = state.throttle().begin(&subjects, now_us);
    begun.map_err(|wait| Problem::too_many("this failed too often from your address", wait))?;
    let wallets = state.store.wallets.as_ref();
    let chains = state.control.cashier().chains();
    let Answer { message, signature } = answer.0;
    let proved = verify(
        wallets,
        chains,
        (state.contracts(), throttle::network(address)),
        now_us,
        (&message, &signature),
    );
    let proved = match proved.await {
        Ok(proved) => proved,
        Err(why) => return Err(not_signed(&state, why, (&subjects, now_us), address).await),
    };
    state.throttle().succeeded(&subjects, now_us);
    let Proved {
        address: account,
        tenant,
        chain,
        warnings,
    } = proved;
    let wallet = account.0.0;
    // What the text did not name is not signed in to: a role is given by others, and without asking.
    let role = match &tenant {
        None => None,
        // Not from the list, which has an end.
        Some(tenant) => match role_by(&state, tenant, &wallet, chain).await? {
            Some(role) => Some(role),
            None => return Err(no_role(&state, tenant, &wallet, chain, address).await),
        },
    };
    let within = tenant.zip(role);
    let (session, expires_us, cookie) = match &within {
        Some((tenant, _)) => {
            let opener = Opener::Wallet(wallet);
            let (session, cookie) =
                match session::open(&state, &headers, tenant, &opener, address).await {
                    Ok(opened) => opened,
                    // It was taken back a moment ago.
                    Err(_) if role_by(&state, tenant, &wallet, chain).await?.is_none() => {
                        return Err(no_role(&state, tenant, &wallet, chain, address).await);
                    }
                    Err(problem) => return Err(problem),
                };
            let (who, done) = (who(&opener, ""), AuditOutcome::Done);
            tell(&state, tenant, who, "session.sign_in", done, address).await;
            (session.id, session.expires_us, cookie)
        }
        None => {
            let (session, cookie) =
                session::open_wallet(&state, &headers, &wallet, chain, address).await?;
            (session.id, session.expires_us, cookie)
        }
    };
    // Once there is another one: who could not sign in keeps what they had.
    end_session(&state, &headers, address).await?;
    let roles = wallets.roles_of_wallet(&wallet, chain).await?;
    let (tenant, role) = within.unzip();
    let signed_in = SignedIn {
        address: shown(&wallet),
        tenant,
        role,
        roles: listed(roles),
        session,
        expires_us,
        warnings,
    };
    Ok(([(header::SET_COOKIE, cookie)], Json(signed_in)).into_response())
}

/// Ends the session of the request's cookie, of whomever it is.
#[utoipa::path(
    post,
    path = "/api/v1/wallet/sign-out",
    tag = "wallet",
    responses(
        (status = 204, description = "There is no session any more"),
        (status = 403, description = "A page of somebody else asks"),
    )
)]
pub(in crate::http) async fn sign_out(
    Shared(state): Shared<State>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers();
    if session::cookie(&state, headers).is_some() && Origin::of(headers) != Origin::Same {
        return Err(Problem::new(Kind::Forbidden, FOREIGN));
    }
    end_session(&state, headers, Peer::address(request.extensions())).await?;
    let cookie = [(header::SET_COOKIE, session::forgotten(&state, headers)?)];
    Ok((StatusCode::NO_CONTENT, cookie).into_response())
}

/// Who is signed in with a wallet, and what it may do where.
#[utoipa::path(
    get,
    path = "/api/v1/wallet",
    tag = "wallet",
    responses((status = 200, body = WalletMe))
)]
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    user: WalletUser,
) -> Result<Json<WalletMe>, Problem> {
    let wallets = &state.store.wallets;
    let roles = wallets.roles_of_wallet(&user.wallet, user.chain).await?;
    let (tenant, role) = user.within.unzip();
    Ok(Json(WalletMe {
        address: shown(&user.wallet),
        tenant,
        role,
        roles: listed(roles),
        session: user.session,
    }))
}

/// What the wallet has paid, in all tenants, the newest first: invoices, and purchases by x402.
#[utoipa::path(
    get,
    path = "/api/v1/wallet/payments",
    tag = "wallet",
    params(Paging), responses((status = 200, body = Page<PaidView>))
)]
pub(in crate::http) async fn payments(
    Shared(state): Shared<State>,
    user: WalletUser,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<PaidView>>, Problem> {
    let limit = paging.limit()?;
    let page = paid(&state, &user, paging.after.as_deref(), limit);
    Ok(Json(page.await?))
}

/// What an account has paid, as its payer sees it. A contract wallet sees what was paid on its chain: at the same
/// address of another one is somebody else.
pub(in crate::http) async fn paid(
    state: &State,
    user: &WalletUser,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<PaidView>, Problem> {
    let wallets = &state.store.wallets;
    let page = wallets.paid_by(&user.wallet, after, limit).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for paid in page.items {
        items.extend(view(state, user, paid).await?);
    }
    Ok(Page {
        items,
        next: page.next,
    })
}

async fn view(
    state: &State,
    user: &WalletUser,
    paid: PaidInvoice,
) -> Result<Option<PaidView>, Problem> {
    let cashier = state.control.cashier();
    let at = cashier.invoice(&paid.tenant, Id(paid.invoice)).await?;
    if let Some(chain) = user.chain {
        let is_there = |at: &At| paid_on(&at.kept.invoice, Address::from(user.wallet), chain);
        if !at.as_ref().is_some_and(is_there) {
            return Ok(None);
        }
    }
    let seen = at.map(|at| InvoiceView::of(&at, cashier.chains(), &state.public_url));
    let (title, state, price, checkout_url) = match seen {
        Some(seen) => (
            seen.title,
            Some(seen.state),
            Some(seen.price),
            Some(seen.checkout_url),
        ),
        None => (None, None, None, None),
    };
    Ok(Some(PaidView {
        invoice: hex::encode(paid.invoice),
        tenant: paid.tenant,
        offer: paid.offer,
        title,
        state,
        price,
        created_us: paid.created_us,
        checkout_url,
    }))
}

/// Whether an account has paid an invoice on a chain, or can't have on another.
fn paid_on(invoice: &Invoice, account: Address, chain: u64) -> bool {
    let methods = &invoice.definition().methods;
    let is_of = |method: &Method| method.token.asset().chain == chain;
    methods.iter().all(is_of)
        || invoice.payments().any(|(_, payment)| {
            let method = methods.get(usize::from(payment.method));
            payment.from == account && method.is_some_and(is_of)
        })
}

/// What a wallet may do in a tenant. As a contract what its role for that chain says.
async fn role_by(
    state: &State,
    tenant: &TenantId,
    wallet: &WalletKey,
    chain: Option<u64>,
) -> Result<Option<Role>, stencil_store::Error> {
    let found = state.store.wallets.wallet(tenant, wallet).await?;
    let found = found.filter(|found| chain.is_none() || found.chain == chain);
    Ok(found.map(|found| found.role))
}

/// Who has proved an account that may do nothing in the tenant. One that there is not is told alike.
async fn no_role(
    state: &State,
    tenant: &TenantId,
    wallet: &WalletKey,
    chain: Option<u64>,
    address: IpAddr,
) -> Problem {
    refused(state, tenant, wallet, address).await;
    let on = chain.map_or(String::new(), |chain| {
        format!(" as a contract of chain {chain}; one has to be given with this `chain_id`")
    });
    let detail = format!("{} has no role in tenant {tenant}{on}", shown(wallet));
    Problem::new(Kind::Forbidden, detail)
}

fn listed(roles: Vec<(TenantId, Role)>) -> Vec<RoleIn> {
    let one = |(tenant, role)| RoleIn { tenant, role };
    roles.into_iter().map(one).collect()
}

/// From where somebody asks who may sign in from there.
fn from(request: &Request) -> Result<(HeaderMap, IpAddr), Problem> {
    let headers = request.headers().clone();
    if Origin::of(&headers) == Origin::Foreign {
        return Err(Problem::new(Kind::Forbidden, FOREIGN));
    }
    Ok((headers, Peer::address(request.extensions())))
}

fn asked(state: &State, wanted: &ChallengeWanted) -> Result<Asked, Problem> {
    let address = settings::address(&wanted.address).map_err(|why| wrong("address", why))?;
    let known = followed(state);
    let chain_id = match (wanted.chain_id, known.as_slice()) {
        (_, []) => {
            let detail = "the hub follows no chain, so that no wallet can sign in: an operator sets \
                          one (`[chains.NAME]`)";
            return Err(Problem::new(Kind::Conflict, detail));
        }
        (None, [only]) => *only,
        (Some(id), known) if known.contains(&id) => id,
        (wanted, known) => return Err(not_followed(wanted, known)),
    };
    let tenant = wanted.tenant.as_deref().map(TenantId::parse).transpose();
    let tenant = tenant.map_err(|error| wrong("tenant", error.to_string()))?;
    Ok(Asked {
        address,
        chain_id,
        tenant,
    })
}

/// The chains that the hub follows, by their ids.
pub(super) fn followed(state: &State) -> Vec<u64> {
    let chains = state.control.cashier().chains();
    chains.iter().map(|chain| chain.id()).collect()
}

/// The answer to a chain that is none of these.
pub(super) fn not_followed(wanted: Option<u64>, known: &[u64]) -> Problem {
    let known: Vec<_> = known.iter().map(u64::to_string).collect();
    let said = wanted.map_or("none is given".to_owned(), |id| {
        format!("the hub does not follow chain {id}")
    });
    wrong(
        "chain_id",
        format!("{said}; one of {} is right", known.join(", ")),
    )
}

async fn not_signed(
    state: &State,
    why: NotSigned,
    (subjects, begun_us): (&[Subject], i64),
    address: IpAddr,
) -> Problem {
    match why {
        NotSigned::Wrong(field, why) => wrong(field, why),
        NotSigned::Nonce => {
            let seconds = LIFE_US / 1_000_000;
            let detail = format!(
                "Nonce: it was used already, is over, or was never given here: each is for one \
                 attempt within {seconds} s. Ask for another challenge"
            );
            Problem::new(Kind::Unauthenticated, detail)
        }
        NotSigned::Refused {
            why,
            address: account,
            tenant,
        } => {
            let wallet = account.0.0;
            if let Some(tenant) = tenant.and_then(|tenant| TenantId::parse(&tenant).ok()) {
                refused(state, &tenant, &wallet, address).await;
            }
            Problem::new(Kind::Unauthenticated, why)
        }
        NotSigned::Unknown {
            why,
            by_contract,
            address: account,
            tenant,
        } => {
            // The chain's fault and nobody's guess. What a contract does is its maker's.
            if !by_contract {
                state.throttle().taken_back(subjects, begun_us);
            }
            tracing::warn!(
                why,
                by_contract,
                "whether a contract wallet has signed is not known"
            );
            if let Some(tenant) = tenant.and_then(|tenant| TenantId::parse(&tenant).ok()) {
                let who = by_name(state, &tenant, &account.0.0).await;
                let failed = AuditOutcome::Failed;
                tell(state, &tenant, who, "session.sign_in", failed, address).await;
            }
            let detail = if by_contract {
                "whether the contract wallet has signed can't be known: it does not answer all of the \
                 chain's endpoints alike, or not in time. Ask for another challenge, and try again"
            } else {
                "whether the contract wallet has signed can't be known now: the chain does not answer. \
                 Ask for another challenge, and try again"
            };
            Problem::new(Kind::Busy, detail)
        }
        NotSigned::Crowded => {
            state.throttle().taken_back(subjects, begun_us);
            let detail = "too many contract wallets are asked at the moment, from your address or in all. \
                          The challenge can still be answered: try again shortly";
            Problem::new(Kind::Busy, detail)
        }
        NotSigned::Store(error) => error.into(),
    }
}

/// Notes in a tenant's log that somebody could not sign in. What strangers do as wallets that are none of
/// its own is one entry, however many they name.
async fn refused(state: &State, tenant: &TenantId, wallet: &WalletKey, address: IpAddr) {
    let who = by_name(state, tenant, wallet).await;
    let refused = AuditOutcome::Refused;
    tell(state, tenant, who, "session.sign_in", refused, address).await;
}

async fn by_name(state: &State, tenant: &TenantId, wallet: &WalletKey) -> String {
    match state.store.wallets.wallet(tenant, wallet).await {
        Ok(Some(_)) => who(&Opener::Wallet(*wallet), ""),
        _ => "unknown wallet".to_owned(),
    }
}
