"""The undocumented names of uvicorn that chatsys uses, each with its purpose.

Only chatsys/server uses such names. tests/project/test_private_names.py reads this table. It fails if a name no longer
exists, if the code behind a name has changed, or if chatsys uses an undocumented name that is not listed. Then read the
new source, adapt chatsys/server, run tests/flow, and put the new digest into the test.
"""

from __future__ import annotations

HTTP = "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol"
CYCLE = "uvicorn.protocols.http.httptools_impl.RequestResponseCycle"
SERVER = "uvicorn.server.Server"
UTILS = "uvicorn.protocols.utils"

NAMES = {
    f"{HTTP}.__init__": "Called with config, server_state, app_state and _loop, like the class for WebSockets.",
    f"{HTTP}.connection_made": (
        "Called when a client connects; extended to start the deadline of its first request. It gets a transport that "
        "only has addresses, and can pause and resume reading for uvicorn's flow control."
    ),
    f"{UTILS}.get_remote_addr": "Reads host and port from ``peername`` if the transport has no ``socket``.",
    f"{UTILS}.get_local_addr": "Reads ``sockname`` in the same way.",
    f"{HTTP}.connection_lost": "Marks the current request as disconnected, which notifies the application.",
    f"{HTTP}.data_received": "Parses data. Extended to check the head's size before, and the held memory after.",
    f"{HTTP}.on_message_begin": "Called at the start of a request; extended to start its deadline.",
    f"{HTTP}.on_headers_complete": "Called at the end of a head; sets ``cycle``, the current request.",
    f"{HTTP}.on_message_complete": "Called at the end of a body; extended to end the deadline.",
    f"{HTTP}.send_400_response": "Answers malformed HTTP; replaced by a response in JSON.",
    f"{HTTP}.handle_websocket_upgrade": (
        "Creates an object of ``Config.ws``, calls its connection_made, passes the request's head to its "
        "data_received, and then sets it as the transport's protocol."
    ),
    f"{CYCLE}.receive": "Notifies the application of a disconnect after ``transport`` was closed.",
    f"{SERVER}.serve": "Serves on the given sockets, within ``capture_signals``.",
    f"{SERVER}.startup": "Extended to announce that the server listens.",
    f"{SERVER}.shutdown": (
        "Calls ``shutdown`` of everything in ``server_state.connections``, to which WebSockets add themselves; "
        "extended to end pending polls first."
    ),
    f"{SERVER}.capture_signals": "Replaced: the process handles signals itself.",
    f"{SERVER}.handle_exit": "Stops the server; on a second call without waiting.",
}

ATTRIBUTES = {
    f"{HTTP}.transport": "The connection, to write an error response and to close.",
    f"{HTTP}.cycle": "The current request, or the last one; None before the first.",
    f"{HTTP}.parser": "Refers to the connection; set to None when the connection becomes a WebSocket.",
    f"{CYCLE}.response_started": "Whether the application has started its response.",
    f"{CYCLE}.response_complete": "Whether the application has finished its response.",
    "uvicorn.server.ServerState.connections": "The open connections, which the server shuts down when it stops.",
}
