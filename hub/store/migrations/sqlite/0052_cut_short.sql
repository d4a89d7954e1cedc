-- Why a holder's command that no gateway has yet ends before its own time: `sold` or `no_holder`; NULL: it does not.
ALTER TABLE commands ADD COLUMN reason TEXT;
