//! All ports in one hand.

use std::sync::Arc;

use crate::{
    AccessRights, Alarms, Answers, Audit, CausedRuns, Certificates, Chains, Commands, Content,
    Credentials, Devices, Gateways, Judging, Keeping, Ledger, Offers, Operators, Ownership,
    Payments, Pipeline, Proofs, Registry, Rollouts, Runs, Sends, Series, Tenancy, Users, Wallets,
    Workflows,
};

/// The ports of a store, whatever is behind them.
///
/// Take the one port that you need, not the bundle, where you can.
#[derive(Clone)]
pub struct Store {
    /// Tenants and tokens.
    pub tenancy: Arc<dyn Tenancy>,
    /// Users, links and sessions.
    pub users: Arc<dyn Users>,
    /// Accounts of chains as people.
    pub wallets: Arc<dyn Wallets>,
    /// Those who run the hub.
    pub operators: Arc<dyn Operators>,
    /// Who changed what.
    pub audit: Arc<dyn Audit>,
    /// Answers to requests with a key.
    pub answers: Arc<dyn Answers>,
    /// What the pipeline loads and commits.
    pub pipeline: Arc<dyn Pipeline>,
    /// Devices and latest values.
    pub devices: Arc<dyn Devices>,
    /// Registrations of devices, and their keys.
    pub registry: Arc<dyn Registry>,
    /// Which certificates let which gateway in.
    pub certificates: Arc<dyn Certificates>,
    /// What gateways shall be like, and say that they are like.
    pub gateways: Arc<dyn Gateways>,
    /// Time series.
    pub series: Arc<dyn Series>,
    /// Workflow definitions.
    pub workflows: Arc<dyn Workflows>,
    /// Runs and steps.
    pub runs: Arc<dyn Runs>,
    /// Runs that something on a chain has caused.
    pub caused: Arc<dyn CausedRuns>,
    /// Alarms.
    pub alarms: Arc<dyn Alarms>,
    /// Content.
    pub content: Arc<dyn Content>,
    /// Commands.
    pub commands: Arc<dyn Commands>,
    /// Images and roll-outs.
    pub rollouts: Arc<dyn Rollouts>,
    /// Loss ledger and quarantine.
    pub ledger: Arc<dyn Ledger>,
    /// Invoices and the journal.
    pub payments: Arc<dyn Payments>,
    /// Credentials that were issued.
    pub credentials: Arc<dyn Credentials>,
    /// Rights that gateways check, and receipts.
    pub access: Arc<dyn AccessRights>,
    /// How these rights stood, and receipts that are judged again.
    pub judging: Arc<dyn Judging>,
    /// Offers and purchases.
    pub offers: Arc<dyn Offers>,
    /// Chains that are followed.
    pub chains: Arc<dyn Chains>,
    /// Passports, rights and what they let their holders do.
    pub ownership: Arc<dyn Ownership>,
    /// Transactions that are sent.
    pub sends: Arc<dyn Sends>,
    /// What gateways have sealed, and anchors.
    pub proofs: Arc<dyn Proofs>,
    /// Retention and erasure.
    pub keeping: Arc<dyn Keeping>,
}

impl Store {
    /// The bundle of something that implements every port.
    pub fn of<S>(all: Arc<S>) -> Self
    where
        S: Tenancy
            + Users
            + Wallets
            + Operators
            + Audit
            + Answers
            + Pipeline
            + Devices
            + Registry
            + Certificates
            + Gateways
            + Series
            + Workflows
            + Runs
            + CausedRuns
            + Alarms
            + Content
            + Commands
            + Rollouts
            + Ledger
            + Payments
            + Credentials
            + AccessRights
            + Judging
            + Offers
            + Chains
            + Ownership
            + Sends
            + Proofs
            + Keeping,
    {
        Self {
            tenancy: all.clone(),
            users: all.clone(),
            wallets: all.clone(),
            operators: all.clone(),
            audit: all.clone(),
            answers: all.clone(),
            pipeline: all.clone(),
            devices: all.clone(),
            registry: all.clone(),
            certificates: all.clone(),
            gateways: all.clone(),
            series: all.clone(),
            workflows: all.clone(),
            runs: all.clone(),
            caused: all.clone(),
            alarms: all.clone(),
            content: all.clone(),
            commands: all.clone(),
            rollouts: all.clone(),
            ledger: all.clone(),
            payments: all.clone(),
            credentials: all.clone(),
            access: all.clone(),
            judging: all.clone(),
            offers: all.clone(),
            chains: all.clone(),
            ownership: all.clone(),
            sends: all.clone(),
            proofs: all.clone(),
            keeping: all,
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
