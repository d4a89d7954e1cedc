//! Payments without I/O: invoices, matching, the ledger, x402.
