-- Why a send was given up, on the attempts that are empty transactions of the account to itself: no node
-- took the ones before, and its nonce held up all that came after it. NULL: the attempt is what was ordered.
ALTER TABLE chain_attempts ADD COLUMN gives_up TEXT;
