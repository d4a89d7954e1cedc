//! Chains that the hub watches and acts on: the follower, what is final, and signers.
