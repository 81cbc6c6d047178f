"""The names of uvicorn that are used beyond its documentation, each with what it is used for.

No other module of chatsys uses such a name. tests/house/test_private_names.py reads this table: it fails when a name
is gone, when the code behind one has changed, and when an undocumented name is used that is not here. Then read the
new source, adapt chatsys/server, run tests/flow, and put the new digest into the test.
"""

from __future__ import annotations

HTTP = "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol"
CYCLE = "uvicorn.protocols.http.httptools_impl.RequestResponseCycle"
SERVER = "uvicorn.server.Server"
UTILS = "uvicorn.protocols.utils"

NAMES = {
    f"{HTTP}.__init__": "Called with config, server_state, app_state and _loop; so is the class for WebSockets.",
    f"{HTTP}.connection_made": (
        "A client has connected; from now on its first request has a deadline. Given a transport that answers for its "
        "addresses alone, and pauses and resumes reading for the flow control that is made of it."
    ),
    f"{UTILS}.get_remote_addr": "Asks for ``peername`` where there is no ``socket``: host and port, no more.",
    f"{UTILS}.get_local_addr": "The same with ``sockname``.",
    f"{HTTP}.connection_lost": "Sets the request under way to disconnected, so that the application hears of it.",
    f"{HTTP}.data_received": "Parses what came. Before it, the size of a head is judged; after it, what is held.",
    f"{HTTP}.on_message_begin": "The first byte of a request: its deadline begins.",
    f"{HTTP}.on_headers_complete": "The end of a head; sets ``cycle``, the request under way.",
    f"{HTTP}.on_message_complete": "The end of a body: the deadline is met.",
    f"{HTTP}.send_400_response": "Answers what is not HTTP; replaced by an answer in JSON.",
    f"{HTTP}.handle_websocket_upgrade": (
        "Makes an object of ``Config.ws``, calls its connection_made and gives the request's head to data_received, "
        "and then makes it the transport's protocol."
    ),
    f"{CYCLE}.receive": "Tells the application of a disconnect after ``transport`` was closed.",
    f"{SERVER}.serve": "Serves on the sockets given, within ``capture_signals``.",
    f"{SERVER}.startup": "Extended to say that the server listens.",
    f"{SERVER}.shutdown": (
        "Calls ``shutdown`` of everything in ``server_state.connections``, where WebSockets enter themselves; "
        "extended to end open polls first."
    ),
    f"{SERVER}.capture_signals": "Replaced: signals are handled by the process itself.",
    f"{SERVER}.handle_exit": "Asks the server to stop, at once if asked again.",
}

ATTRIBUTES = {
    f"{HTTP}.transport": "The connection, to write a refusal and to close.",
    f"{HTTP}.cycle": "The request under way, or the last one; None before the first.",
    f"{HTTP}.parser": "Refers to the connection; let go when the connection has become a WebSocket.",
    f"{CYCLE}.response_started": "Whether the application has begun its answer.",
    f"{CYCLE}.response_complete": "Whether it has ended it.",
    "uvicorn.server.ServerState.connections": "The set of open connections, which are told when the server stops.",
}
