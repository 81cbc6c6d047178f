-- The process of each server, so that others on its machine notice at once that it is gone. locked_at is not needed:
-- the advisory lock itself shows whether it is free.
ALTER TABLE chat_servers DROP locked_at;
ALTER TABLE chat_servers ADD process text; -- boot id, PID namespace, pid and start of the process, if they are known
