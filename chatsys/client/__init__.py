"""The client's side of the protocol, for load users, the lab and the checklist. It knows nothing of chat.

address, binary, errors         URL, headers, cookies, TLS; bytes in packets; errors
namespace, session, transport   Engine.IO and Socket.IO without I/O
asynchronous                    AsyncClient: one connection on asyncio
blocking                        SocketIOClient: one connection on gevent, for load; needs the extra ``loadtest``
requests                        HTTP: one request, or a persistent connection for measured requests
"""
