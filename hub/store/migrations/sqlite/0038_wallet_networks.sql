-- The sessions of one network are counted when it opens one more.
CREATE INDEX wallet_sessions_by_network ON wallet_sessions (network, seen_us);
