"""A server: its parts, its processes, and its HTTP connections on uvicorn.

composition     store, chat, bus and background tasks, opened from the settings
process         one process: socket, signals, start and stop
workers         several processes on one port
snapshot_file   saves a memory store to a file and loads it again
uvicorn_names   the undocumented names of uvicorn that are used, and for what
http            HTTP connections with limits, and the handover of WebSockets to the engine
serving         uvicorn's server on an existing socket
siblings        the combined metrics of all processes that share a port
"""
