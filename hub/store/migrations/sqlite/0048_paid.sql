-- What a transaction's gas was paid with, in wei, as its receipt says. Once it is final that counts as spent,
-- in place of the most that it might have cost.
ALTER TABLE chain_sends ADD COLUMN fee BLOB;
