//! What the hub remembers: tenants, devices, time series, the loss ledger,
//! workflows and their runs, alarms, content, commands.
//!
//! The crate is a set of **ports** (one trait a file, with the rows that it
//! speaks of) and one implementation of them all over SQLite ([`sqlite::open`]).
//! The rest of the hub knows the ports only, mostly through [`Store`]:
//!
//! | port | what it keeps |
//! |---|---|
//! | [`Tenancy`] | tenants, tokens |
//! | [`Users`] | users, their one-time links, sessions of browsers |
//! | [`Operators`] | who runs the hub and manages tenants |
//! | [`Audit`] | who changed what |
//! | [`Answers`] | answers to requests with an `Idempotency-Key` |
//! | [`Pipeline`] | what the pipeline commits: state, points and log position in one transaction |
//! | [`Devices`] | devices, their links, their newest values |
//! | [`Gateways`] | what gateways shall be like, and say that they are like |
//! | [`Certificates`] | which certificates let which gateway in |
//! | [`Registry`] | which devices are let in, their keys (sealed), what each gateway holds of them |
//! | [`Series`] | points by event time |
//! | [`Ledger`] | what became of every number that a device gave; the quarantine |
//! | [`Workflows`] | definitions, immutable by version |
//! | [`Runs`] | durable runs and steps |
//! | [`CausedRuns`] | runs that something on a chain has caused: what is known of the cause |
//! | [`Alarms`] | alarms, their history, silences |
//! | [`Content`] | collections, entries, drafts and what is published |
//! | [`Commands`] | commands and their states |
//! | [`Payments`] | invoices, whose each movement of money is, the journal, what is to be done |
//! | [`AccessRights`] | rights to command devices that gateways check by themselves, and receipts of admissions |
//! | [`Judging`] | how these rights stood when, and receipts that are judged again because of it |
//! | [`Offers`] | what is sold for single payments, what was bought, what payers have under way |
//! | [`Chains`] | how far chains are followed, what was seen of them, and what became of it |
//! | [`Ownership`] | who controls devices by what a chain says: policies, passports, rights, documents |
//! | [`Sends`] | transactions that are sent: nonces, signatures, what tenants may spend |
//! | [`Proofs`] | what gateways have sealed, what proofs are made of, anchors |
//! | [`Keeping`] | how long history is kept, and erasure |
//!
//! Three rules hold for every port. *The tenant is a parameter of every query*; the
//! few that serve the hub's own loops (what is due, what is active) answer with
//! the tenant beside each row. *What has an effect key happens once.* *An error
//! says whether to try again* ([`Error::retryable`]).
//!
//! Times are `i64` microseconds since the Unix epoch, and are always passed in.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod access;
mod alarms;
mod answers;
mod audit;
mod caused;
mod certificates;
mod chains;
mod commands;
mod content;
mod credentials;
mod devices;
mod error;
mod gateways;
mod judging;
mod keeping;
mod ledger;
mod offers;
mod operators;
mod ownership;
mod page;
mod payments;
mod pipeline;
mod points;
mod proofs;
mod registry;
mod rollouts;
mod runs;
pub mod schema;
mod seal_marks;
mod sends;
mod series;
pub mod sqlite;
mod store;
mod tenancy;
mod users;
mod wallets;
mod workflows;

pub use access::{
    AccessRights, BroughtReceipt, MAX_DEVICE_TOKEN_RIGHTS, MAX_RECEIPTS, MAX_RIGHTS,
    MAX_TOKEN_RIGHTS, NewRight, RightsOf, StoredReceipt, StoredRight, TOKEN_SOURCE,
};
pub use alarms::{
    ActiveAlarm, Alarm, AlarmChange, AlarmCounts, AlarmEvent, AlarmEventKind, AlarmFilter, AlarmId,
    Alarms, Cleared, MAX_ALARM_EVENTS, MAX_ALARM_NOTE, MAX_ALARM_TITLE, Mark, Raised, Severity,
};
pub use answers::{Answers, Begun, Keyed, MAX_ANSWERS};
pub use audit::{Audit, AuditEntry, AuditFilter, AuditOutcome, MAX_AUDIT_TEXT, NewAudit};
pub use caused::{
    CausedChange, CausedCommit, CausedCommitted, CausedRuns, CausedWait, CausingRun, InvoiceStart,
    Lineage, MAX_CAUSED_STEPS, MAX_CAUSING_RUNS, MAX_TURNS_KEPT, ReadUpTo, SentBecause,
    StoredCaused, Turn, TurnKind,
};
pub use certificates::{
    CertificateState, Certificates, Fingerprint, GatewayCertificate, MAX_GATEWAY_CERTIFICATES,
    NewCertificate, Presented, Renewable, is_of_former_tenant,
};
pub use chains::{
    BlockMark, ChainCommit, ChainCommitted, ChainEntry, ChainEntryKind, ChainSource, ChainState,
    Chains, KeptBlock, MAX_CHAIN_ENTRIES, MAX_CHAIN_NAME, MAX_OWNER_WATCHES, MAX_TOPICS,
    MAX_WATCHES, Observation, Watch, WatchKind, Watched,
};
pub use commands::{
    AfterCommand, ByToken, Commands, CutShort, MAX_HELD_COMMANDS, Marked, NewCommand, Outstanding,
    Queued, RanOut, StoredCommand,
};
pub use content::{
    Content, Entry, EntryVersion, Fields, MAX_EFFECT_KEY, MAX_FIELDS, MAX_KEY, MAX_VERSIONS_KEPT,
    Published, Written,
};
pub use credentials::{
    CredentialStanding, Credentials, KeptCredential, MAX_CREDENTIALS, STATUS_LIST_BITS,
    StandingSet, StoredCredential,
};
pub use devices::{
    Device, DeviceCounts, DeviceFilter, Devices, Latest, LinkInfo, Linked, MAX_NEWEST, Newest,
    Standing,
};
pub use error::Error;
pub use gateways::{
    DesiredOf, DesiredState, Effective, EffectiveSection, FewDevices, Gateway, GatewayFlaw,
    GatewaySaid, GatewayVerdict, Gateways, MAX_DESIRED_GROUPS, MAX_GATEWAY_GROUPS,
    MAX_GROUP_GATEWAYS,
};
pub use judging::{Judged, Judging, MAX_STANDINGS, RightStanding, StoodAs, ToJudge};
pub use keeping::{Erased, Forgotten, Keep, Keeping, MAX_KEEP_DAYS, Retention};
pub use ledger::{Ledger, LedgerRow};
pub use offers::{
    MAX_OFFER_NAME, MAX_OFFERS, MAX_UNDER_WAY, Offers, PayerKey, StoredExposure, StoredOffer,
    StoredPurchase, UNDER_WAY_SHARE,
};
pub use operators::{Operator, OperatorRow, Operators, Tenant};
pub use ownership::{
    Anew, DevicePassport, Document, DocumentHead, Followed, HeldCommit, HeldDevice, HeldToken,
    MAX_DOCUMENT, MAX_DOCUMENTS, MAX_HELD_TOKENS, Ownership, StoredOwnership, TokenKey,
};
pub use page::{MAX_PAGE, Page};
pub use payments::{
    CauseKey, DueEffect, InvoiceCommit, InvoiceEffect, InvoiceKey, JournalBalance, JournalEntry,
    JournalLine, MAX_CREDIT_KEY, Payments, RefundMovement, StoredInvoice, UnmatchedCredit,
};
pub use pipeline::{
    CommandStatus, Commit, Committed, GatewayRules, Given, LinkSeen, Loaded,
    MAX_QUARANTINED_PAYLOAD, Pipeline, Point, Quarantined, RuleState, Trigger, TwinUpdate,
};
pub use points::{Points, SeriesPoints};
pub use proofs::{
    AnchorSeals, Anchoring, MAX_SEALED_BATCHES, MAX_SEALING_KEYS, NewSeal, ProofChanges, ProofHash,
    Proofs, SealKey, SealState, SealedBatch, SealedRun, Sealing, StoredAnchor, StoredSeal,
};
pub use registry::{
    Admission, Birth, Born, ByCode, Delivery, DeviceKey, Enrolled, Enrolment, GatewayHolds,
    GatewayRekeyed, KeyUsed, Moved, NewBirth, NewKey, Placed, RegisteredGateway, Registration,
    RegistrationState, Registry, Renewal, Renewed, Unclaimed,
};
pub use rollouts::{
    Candidate, DeviceImage, DeviceVerdict, Image, ImageDigest, MAX_IMAGES, MAX_ROLLOUTS,
    MAX_SUCCESSIONS, OpenRollout, RolloutChange, RolloutDevice, RolloutHead, RolloutKey,
    RolloutNotice, Rollouts, StoredRollout, UpdateTrust, Wanted,
};
pub use runs::{
    Attempt, Claim, MAX_ATTEMPTS_KEPT, Outcome, Progress, Room, Run, RunFilter, RunId, Runs, Step,
};
pub use seal_marks::{
    Distrust, FoundSeal, MAX_SEAL_MARKS, NewSealMark, SealFlaw, SealMark, SealMarkFilter,
    SettledSeal,
};
pub use sends::{
    Amount, Brought, BroughtInVain, Callable, MAX_GIVEN_UP, MAX_LIMIT_WINDOW_S, MAX_OPEN_SENDS,
    MAX_SEND_ATTEMPTS, MAX_SEND_DATA, NewSend, OPEN_SENDS_SHARE, SalesShare, SendAttempt,
    SendOutcome, SendState, Sends, SpendLimit, Spent, StoredSend,
};
pub use series::{MAX_RANGE, Series, SeriesName, SeriesPoint};
pub use store::Store;
pub use tenancy::{IssuedToken, Role, Secret, Tenancy, Token, TokenEnd, TokenKind, TokenOwner};
pub use users::{
    Ended, MAX_SESSIONS, MAX_USER_NAME, MAX_USERS, Opener, Session, SessionOwner, User, UserChange,
    Users, check_user_name,
};
pub use wallets::{
    Granted, MAX_ALL_WALLET_SESSIONS, MAX_NETWORK_NONCES, MAX_NETWORK_WALLET_SESSIONS, MAX_NONCES,
    MAX_WALLET_NAME, MAX_WALLET_ROLES, MAX_WALLET_SESSIONS, MAX_WALLETS, NONCE_STAYS_US, NewNonce,
    PaidInvoice, Wallet, WalletKey, WalletOwner, WalletSession, Wallets,
};
pub use workflows::{AtGateway, MAX_DEFINITION, MAX_WORKFLOW_ID, Workflow, Workflows};
