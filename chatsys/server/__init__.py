"""A server: what it is made of, its process or processes, and the connections over HTTP on uvicorn.

composition     store, chat, bus and what goes on beside them, from the settings
process         the life of one process: socket, signals, start and end
workers         several processes on one port
snapshot_file   where a store that lives in memory is kept
uvicorn_names   which names of uvicorn are used beyond its documentation, and what for
http            HTTP connections with limits, and the way of a WebSocket to the engine
serving         uvicorn's server on a socket of ours
siblings        the numbers of all processes that share a port
"""
