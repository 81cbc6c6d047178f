-- Which process a server is, so that others on its machine know at once that it is gone. Whether its advisory lock is
-- free is told by the lock itself.
ALTER TABLE chat_servers DROP locked_at;
ALTER TABLE chat_servers ADD process text; -- boot id, PID namespace, pid and start of the process, if they are known
