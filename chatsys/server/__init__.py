"""One server process on uvicorn.

uvicorn_names   which names of uvicorn are used beyond its documentation, and what for
http            HTTP connections with limits, and the way of a WebSocket to the engine
serving         uvicorn's server on a socket of ours
siblings        the numbers of all processes that share a port
"""
